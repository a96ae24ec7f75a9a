"""The exported folder is a plain Llama with the training model's logits."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoTokenizer, LlamaForCausalLM

from mmgic.errors import InputError
from mmgic.model.assemble import untrained_model
from mmgic.settings import Settings
from mmgic.training.checkpoints import Progress, save_checkpoint
from mmgic.training.export import export_checkpoint, export_untrained


def test_exported_logits_equal_the_training_models(tiny_run: Callable[..., Settings], tmp_path: Path) -> None:
    settings = tiny_run(tmp_path)
    model = untrained_model(settings).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.trained_parameters().values():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    checkpoint = save_checkpoint(tmp_path, Progress(1, 1), model.trained_parameters(), {}, keep=1)
    folder = export_checkpoint(checkpoint, settings, tmp_path / "model")

    assert json.loads((folder / "vl_vocabulary.json").read_text()) == {"text_size": 60, "num_codes": 16}
    config = AutoConfig.from_pretrained(folder)
    assert (config.architectures, config.vocab_size, config.dtype) == (["LlamaForCausalLM"], 78, torch.float32)
    assert not config.tie_word_embeddings
    assert AutoTokenizer.from_pretrained(folder)("word0 word1")["input_ids"] == [3, 4]

    ids = torch.randint(78, (40,), generator=generator)
    with torch.no_grad():
        exported = LlamaForCausalLM.from_pretrained(folder)(ids[None]).logits[0]
        trained = model.logits(ids, [40])
    torch.testing.assert_close(exported, trained, rtol=0, atol=1e-4)


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
