"""A trained model as a plain Hugging Face folder: LoRA merged, the factorized embedding multiplied out."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict
from pathlib import Path

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from mmgic.files import whole_folder
from mmgic.model.assemble import untrained_model
from mmgic.model.text_tokenizer import load_text_tokenizer
from mmgic.model.vl_llama import VLLlama
from mmgic.settings import Settings
from mmgic.training.checkpoints import load_parameters

VOCABULARY_FILE = "vl_vocabulary.json"


def export_checkpoint(checkpoint: str | Path, settings: Settings, folder: str | Path) -> Path:
    """`export_llama` of a training checkpoint, which belongs to a run with `settings`."""
    model = untrained_model(settings)
    load_parameters(checkpoint, model.trained_parameters())
    return export_llama(model, load_text_tokenizer(settings.model.llm), folder)


def export_untrained(settings: Settings, folder: str | Path) -> Path:
    """`export_llama` of the model that a run with `settings` starts from, the control of an evaluation."""
    return export_llama(untrained_model(settings), load_text_tokenizer(settings.model.llm), folder)


def export_llama(model: VLLlama, tokenizer: PreTrainedTokenizerBase, folder: str | Path) -> Path:
    """Writes a `LlamaForCausalLM` folder that Transformers and vLLM load with no code of ours; returns it.

    It holds safetensors in the model's dtype, the text tokenizer, and vl_vocabulary.json {text_size, num_codes}. An
    existing `folder` is replaced once the new one is complete.
    """
    folder = Path(folder)
    config = copy.deepcopy(model.config)
    config.vocab_size = model.vocabulary.size
    config.tie_word_embeddings = False
    config._attn_implementation = "sdpa"
    with torch.device("meta"):
        llama = LlamaForCausalLM(config)
    state = {name: tensor.to(model.dtype).contiguous() for name, tensor in plain_state(model).items()}
    llama.load_state_dict(state, strict=True, assign=True)
    llama.config.dtype = model.dtype
    with whole_folder(folder) as unfinished:
        llama.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        vocabulary = json.dumps(asdict(model.vocabulary), indent=2) + "\n"
        (unfinished / VOCABULARY_FILE).write_text(vocabulary, encoding="utf-8")
    return folder


@torch.no_grad()
def plain_state(model: VLLlama) -> dict[str, Tensor]:
    """The state of a plain `LlamaForCausalLM` with the same logits; merged tensors are float32 on the CPU."""
    state = {"model.embed_tokens.weight": model.embedding.table().cpu(), "lm_head.weight": model.head.detach().cpu()}
    for name, module in model.llama.named_modules():
        if isinstance(module, LoraLinear):
            merged = module.get_base_layer().get_parameter("weight").float()
            for adapter in module.active_adapters:
                merged = merged + module.get_delta_weight(adapter)
            state[f"model.{name}.weight"] = merged.cpu()
    for name, parameter in model.llama.named_parameters():
        if ".base_layer." not in name and ".lora_" not in name:
            state.setdefault(f"model.{name}", parameter.detach().cpu())
    return state
