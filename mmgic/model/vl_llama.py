"""A Llama, or its like, with the extended VL vocabulary and its trainable parts (Sections 3.1 and D.1).

Trained: the VL vocabulary (text embedding, special tokens, codebook, projection), the norm layers, LoRA and the whole
head. Everything else is frozen. Trained parameters are float32; frozen ones have `ModelSettings.dtype`, which is also
what is computed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from mmgic.errors import InputError
from mmgic.model.attention import PACKED, document_borders
from mmgic.model.llama_config import load_llama_config
from mmgic.model.loss import modality_loss_sums
from mmgic.model.pretrained import decoder_class, load_llama, load_llama_vectors
from mmgic.model.vocabulary import VLVocabulary
from mmgic.settings import ModelSettings

disable_progress_bar()  # one for each worker would fill a job's log

CPU = torch.device("cpu")
LORA_TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class VLEmbedding(nn.Module):
    """Rows of the text vocabulary and the two special tokens as they are; a code's row is codebook[code] @ projection.

    The factorization is ALBERT's: |V| x 32 and 32 x 4096 instead of |V| x 4096. A model whose vocabulary was extended
    before has rows of its own for the codes: what of them the two factors do not make is kept beside, not trained.
    """

    rest: Tensor | None  # [codes, hidden]

    def __init__(self, table: Tensor, codebook: Tensor, text_size: int, generator: torch.Generator) -> None:
        """`table` [V or V + 2 + codes, hidden] and `codebook` [codes, width] are the initial values.

        Of a text table alone, the projection is drawn so that codes start with the text rows' mean norm, the special
        tokens so that they start with the text rows' mean and deviation.
        """
        super().__init__()
        rest, table, codebook = None, table.float(), codebook.float()
        if len(table) == text_size:
            projection = torch.randn(codebook.shape[1], table.shape[1], generator=generator)
            projection *= mean_norm(table) / mean_norm(codebook @ projection)
            special = table.mean(0) + table.std(0) * torch.randn(2, table.shape[1], generator=generator)
            rows = torch.cat([table, special])
        else:
            rows, codes = table[: text_size + 2], table[text_size + 2 :]
            projection = torch.linalg.lstsq(codebook, codes).solution.contiguous()
            rest = codes - codebook @ projection
        self.rows = nn.Parameter(rows.clone())  # [V + 2, hidden]
        self.codebook = nn.Parameter(codebook.clone())
        self.projection = nn.Parameter(projection)
        self.register_buffer("rest", rest)

    def forward(self, ids: Tensor) -> Tensor:
        """`ids` int64 [...] to float32 [..., hidden]."""
        # both tables take part in every batch, so that each parameter always has a gradient to reduce between workers
        codes = ids - len(self.rows)
        visual = F.embedding(codes.clamp(min=0), self.codebook) @ self.projection
        if self.rest is not None:
            visual = visual + F.embedding(codes.clamp(min=0), self.rest)
        return torch.where(codes.unsqueeze(-1) >= 0, visual, F.embedding(ids.clamp(max=len(self.rows) - 1), self.rows))

    def table(self) -> Tensor:
        """The plain embedding [V + 2 + codes, hidden] that the factors stand for."""
        codes = self.codebook @ self.projection
        return torch.cat([self.rows, codes if self.rest is None else codes + self.rest])


class VLLlama(nn.Module):
    """See the module's docstring; made by `build_model`. `llama` is the decoder with LoRA inside its linears."""

    def __init__(self, llama: PreTrainedModel, vocabulary: VLVocabulary, codebook: Tensor, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        head = llama.lm_head.weight.detach().cpu().float()  # sums of one order, wherever it is trained
        self.vocabulary = vocabulary
        self.dtype = llama.dtype
        table = llama.model.embed_tokens.weight.detach().cpu()
        self.embedding = VLEmbedding(table, codebook, vocabulary.text_size, generator)
        self.llama = llama.model
        self.llama.embed_tokens = None  # its rows live in `embedding`
        if len(head) == vocabulary.text_size:
            with torch.no_grad():
                new = self.embedding.table()[vocabulary.text_size :]
                new *= mean_norm(head) / new.norm(dim=1, keepdim=True)
                head = torch.cat([head, new])
        self.head = nn.Parameter(head)  # [V + 2 + codes, hidden]

    @property
    def config(self) -> PreTrainedConfig:
        return self.llama.config

    def hidden_states(self, ids: Tensor, document_lengths: Sequence[int]) -> Tensor:
        """Final hidden states [tokens, hidden] of documents laid end to end in `ids` int64 [tokens].

        `document_lengths` adds up to tokens; no document sees another and positions restart in each.
        """
        positions = torch.cat([torch.arange(length) for length in document_lengths]).to(ids.device)
        borders, longest = document_borders(document_lengths, ids.device)
        output = self.llama(
            # no view: the first layer would be compiled on its own for it
            inputs_embeds=self.embedding(ids.unsqueeze(0)).to(self.dtype),
            position_ids=positions.unsqueeze(0),
            use_cache=False,
            borders=borders,
            longest=longest,
        )
        return output.last_hidden_state[0]

    def logits(self, ids: Tensor, document_lengths: Sequence[int]) -> Tensor:
        """[tokens, V + 2 + codes] in the shapes of `hidden_states`."""
        with self._precision(ids.device):
            return F.linear(self.hidden_states(ids, document_lengths), self.head)

    def forward(self, ids: Tensor, document_lengths: Sequence[int], labels: Tensor) -> Tensor:
        """Summed losses float32 [2], (visual, text); `labels` as `mmgic.model.loss.target_labels` gives them."""
        with self._precision(ids.device):
            hidden = self.hidden_states(ids, document_lengths)
            return modality_loss_sums(hidden, self.head, labels, self.vocabulary.img)

    def checkpoint_layers(self, share: float) -> None:
        """Lets a `share` of the layers, evenly spread, keep nothing but their inputs for the backward pass."""
        if share:
            self.llama.gradient_checkpointing_enable({"use_reentrant": False})
        for number, layer in enumerate(self.llama.layers):
            layer.gradient_checkpointing = int((number + 1) * share) > int(number * share)

    def compile_layers(self, backend: str = "inductor") -> None:
        """One graph that all layers share, whatever the number of documents and tokens."""
        for layer in self.llama.layers:
            layer.compile(dynamic=True, backend=backend)

    def _precision(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16)

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}


def build_model(
    settings: ModelSettings,
    vocabulary: VLVocabulary,
    codebook: Tensor,
    seed: int = 0,
    *,
    device: torch.device = CPU,
    frozen: bool = True,
) -> VLLlama:
    """The model before training; the same for the same seed.

    `codebook` float [num_codes, width] holds the visual tokenizer's codes. The decoder's weights are read from their
    files to `device`, one by one, so that the workers of a node hold none of them in host memory; the vocabulary's are
    on the CPU, to be moved there. Without `frozen`, the frozen weights stay on the meta device and LoRA is 0: for what
    needs only the parts that are trained. Raises InputError if `settings.llm` holds no model of a known type or the
    sizes do not belong together.
    """
    config = load_llama_config(settings.llm)
    sizes = (vocabulary.text_size, vocabulary.size)  # as it was read, or extended before
    if config.vocab_size not in sizes or len(codebook) != vocabulary.num_codes:
        raise InputError(
            f"{settings.llm} has {config.vocab_size} tokens and the codebook {len(codebook)} codes, but the "
            f"vocabulary has {vocabulary.text_size} and {vocabulary.num_codes}; use the model and tokenizer it was "
            "made for"
        )
    dtype = getattr(torch, settings.dtype)
    if frozen:
        llama = load_llama(settings.llm, dtype, attn_implementation=PACKED, device_map=str(device))
    else:
        llama = load_llama_vectors(settings.llm, dtype)
    llama.requires_grad_(False)
    model = VLLlama(llama, vocabulary, codebook, seed)
    for norm in _norms(model.llama):
        norm.weight.requires_grad_(True)
        norm.register_forward_hook(_in_the_type_of_its_input)
    if settings.lora_rank:
        # PEFT draws the first LoRA factor from the global generator
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            norms = [parameter for parameter in model.llama.parameters() if parameter.requires_grad]
            inject_adapter_in_model(_lora(settings), model.llama)
        for norm in norms:
            norm.requires_grad_(True)  # PEFT freezes all but its own
        for module in model.llama.modules():
            if isinstance(module, LoraLinear):
                module.cast_input_dtype_enabled = False  # to float32, which autocast would cast back
    if not frozen:
        for module in model.llama.modules():
            if isinstance(module, LoraLinear):
                _zero(module.lora_A)
                _zero(module.lora_B)
    for parameter in model.trained_parameters().values():
        parameter.data = parameter.data.float()
    return model


def _norms(llama: nn.Module) -> list[Any]:
    """Before and after attention, the last one, and in some models those of queries and keys."""
    return [module for name, module in llama.named_modules() if name.endswith("norm")]


def _in_the_type_of_its_input(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """A forward hook. Norm weights are float32, which would make activations float32 that autocast casts once for each
    linear map behind them."""
    return output.to(inputs[0].dtype)


def _zero(module: nn.Module) -> None:
    for parameter in module.to_empty(device="cpu").parameters():
        nn.init.zeros_(parameter)


def _lora(settings: ModelSettings) -> LoraConfig:
    return LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=LORA_TARGETS,
    )


@dataclass(frozen=True)
class TrainableSummary:
    """Parameter counts of a VLLlama."""

    trained: int
    total: int

    @property
    def share(self) -> float:
        return self.trained / self.total

    def __str__(self) -> str:
        return f"{self.trained:,} of {self.total:,} parameters are trained ({self.share:.2%})"


def trainable_summary(model: VLLlama) -> TrainableSummary:
    """Counts parameters. The paper trains under 8 % of LLaMA-2-7B's."""
    return TrainableSummary(
        trained=sum(parameter.numel() for parameter in model.trained_parameters().values()),
        total=sum(parameter.numel() for parameter in model.parameters()),
    )


def trained_count(config: PreTrainedConfig, vocabulary: VLVocabulary, code_width: int, lora_rank: int) -> int:
    """The numbers that `build_model` lets train, without building it."""
    with torch.device("meta"):
        llama = decoder_class(config)(config)
    norms = sum(norm.weight.numel() for norm in _norms(llama))
    linears: list[Any] = [module for name, module in llama.named_modules() if name.rpartition(".")[2] in LORA_TARGETS]
    lora = lora_rank * sum(linear.in_features + linear.out_features for linear in linears)
    hidden = config.hidden_size
    visual = (vocabulary.num_codes + hidden) * code_width
    return norms + lora + (vocabulary.text_size + 2 + vocabulary.size) * hidden + visual


def mean_norm(rows: Tensor) -> Tensor:
    return rows.norm(dim=1).mean()
