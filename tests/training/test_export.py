"""The exported folder is a plain model with the training model's logits."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    Qwen3Config,
)

from mmgic.errors import InputError
from mmgic.exported.weights import write_weights
from mmgic.model.assemble import untrained_model
from mmgic.model.llama_config import load_llama_config
from mmgic.model.vl_llama import trainable_summary, trained_count
from mmgic.settings import Settings
from mmgic.training.checkpoints import Progress, save_checkpoint
from mmgic.training.export import export_checkpoint, export_untrained
from mmgic.training.recipes.pretrain import make_batches

SIZES: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 128,
}
LLAMA_3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 5e5,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
MODELS = {
    "llama": LlamaConfig(**SIZES),
    "llama-3": LlamaConfig(**SIZES, tie_word_embeddings=True, rope_parameters=LLAMA_3_ROPE),
    "mistral": MistralConfig(**SIZES, sliding_window=2048),
    "qwen3": Qwen3Config(**SIZES, tie_word_embeddings=True),
}


@pytest.mark.parametrize("name", MODELS)
def test_exported_logits_equal_the_training_models(
    name: str, tiny_run: Callable[..., Settings], tmp_path: Path
) -> None:
    """Of every type that is taken, exported as its own class."""
    tiny = tiny_run(tmp_path)
    AutoTokenizer.from_pretrained(tiny.model.llm).save_pretrained(tmp_path / "llm")
    torch.manual_seed(0)
    own = AutoModelForCausalLM.from_config(MODELS[name])
    own.save_pretrained(tmp_path / "llm")
    settings = replace(tiny, model=replace(tiny.model, llm=str(tmp_path / "llm")))
    model = untrained_model(settings).eval()
    summary = trainable_summary(model)
    assert trained_count(own.config, model.vocabulary, 6, settings.model.lora_rank) == summary.trained
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.trained_parameters().values():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    checkpoint = save_checkpoint(tmp_path, Progress(1, 1), model.trained_parameters(), {}, keep=1)
    folder = export_checkpoint(checkpoint, settings, tmp_path / "model")

    assert json.loads((folder / "vl_vocabulary.json").read_text()) == {"text_size": 60, "num_codes": 16}
    config = AutoConfig.from_pretrained(folder)
    assert (config.architectures, config.vocab_size, config.dtype) == ([type(own).__name__], 78, torch.float32)
    assert not config.tie_word_embeddings
    assert AutoTokenizer.from_pretrained(folder)("word0 word1")["input_ids"] == [3, 4]

    ids = torch.randint(78, (40,), generator=generator)
    with torch.no_grad():
        exported = AutoModelForCausalLM.from_pretrained(folder)(ids[None]).logits[0]
        trained = model.logits(ids, [40])
    torch.testing.assert_close(exported, trained, rtol=0, atol=1e-4)


def test_models_that_do_not_fit_are_refused_by_name(tiny_run: Callable[..., Settings], tmp_path: Path) -> None:
    GPT2Config().save_pretrained(tmp_path / "gpt2")
    with pytest.raises(InputError, match=r"gpt2 holds a model of type gpt2, whose layers .* llama, mistral, qwen3"):
        load_llama_config(tmp_path / "gpt2")
    MistralConfig(**SIZES, sliding_window=1024).save_pretrained(tmp_path / "mistral")
    settings = tiny_run(tmp_path, model={"llm": str(tmp_path / "mistral")})
    with pytest.raises(InputError, match=r"documents.max_tokens is 2048, but .* look back at 1024 tokens; lower it"):
        make_batches(settings)


def test_shards_hold_the_same_model(tiny_run: Callable[..., Settings], tmp_path: Path) -> None:
    settings = tiny_run(tmp_path)
    whole = LlamaForCausalLM.from_pretrained(export_untrained(settings, tmp_path / "model"))
    model = untrained_model(settings, frozen=False)
    (tmp_path / "sharded").mkdir()
    assert write_weights(model, tmp_path / "sharded", shard_bytes=20_000) == sum(p.numel() for p in whole.parameters())
    files = sorted(tmp_path.glob("sharded/*.safetensors"))
    assert len(files) > 2
    assert max(file.stat().st_size for file in files) < 25_000
    sharded = LlamaForCausalLM.from_pretrained(tmp_path / "sharded").state_dict()
    for name, tensor in whole.state_dict().items():
        assert torch.equal(sharded[name], tensor)


def test_only_what_is_trained_is_in_memory(tiny_run: Callable[..., Settings], tmp_path: Path) -> None:
    """At 7B 2 GB in place of 15; the matrices are read as they are written."""
    settings = tiny_run(tmp_path)
    model, whole = untrained_model(settings, frozen=False), untrained_model(settings)
    assert {name for name, p in model.named_parameters() if not p.is_meta} == whole.trained_parameters().keys()
    for name, parameter in whole.trained_parameters().items():
        if "lora_A" not in name:  # of a LoRA whose other factor is 0
            assert torch.equal(model.get_parameter(name), parameter)


def test_a_language_model_that_is_gone_is_named(tiny_run: Callable[..., Settings], tmp_path: Path) -> None:
    settings = tiny_run(tmp_path)
    llama = tmp_path / "llama"
    shutil.copytree(settings.model.llm, llama)
    model = untrained_model(replace(settings, model=replace(settings.model, llm=str(llama))), frozen=False)
    tensors = load_file(llama / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, llama / "model.safetensors")
    with pytest.raises(InputError, match=r"no longer holds the weight 'model.layers.1.mlp.up_proj.weight'"):
        write_weights(model, tmp_path)


def test_an_older_export_is_replaced(tiny_run: Callable[..., Settings], tmp_path: Path) -> None:
    settings = tiny_run(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").touch()
    folder = export_untrained(settings, tmp_path / "model")
    assert not (folder / "old").exists()
    before = LlamaForCausalLM.from_pretrained(settings.model.llm).state_dict()
    after = LlamaForCausalLM.from_pretrained(folder).state_dict()
    assert before.keys() == after.keys()
    for name, tensor in before.items():  # an untrained export has the language model's weights, and new rows
        torch.testing.assert_close(after[name][: len(tensor)], tensor)


def test_bfloat16_is_kept(tiny_run: Callable[..., Settings], tmp_path: Path) -> None:
    settings = tiny_run(tmp_path)
    folder = export_untrained(replace(settings, model=replace(settings.model, dtype="bfloat16")), tmp_path / "model")
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
    assert {t.dtype for t in LlamaForCausalLM.from_pretrained(folder).state_dict().values()} == {torch.bfloat16}


def test_a_checkpoint_of_another_model_is_refused(tiny_run: Callable[..., Settings], tmp_path: Path) -> None:
    settings = tiny_run(tmp_path)
    model = untrained_model(settings)
    checkpoint = save_checkpoint(tmp_path, Progress(1, 1), model.trained_parameters(), {}, keep=1)
    other = replace(settings, model=replace(settings.model, lora_rank=5))
    with pytest.raises(InputError, match=r"belongs to a model of other sizes.*it has .* where the model has"):
        export_checkpoint(checkpoint, other, tmp_path / "model")
