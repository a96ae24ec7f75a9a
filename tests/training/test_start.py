"""What a run goes on from: another run, an exported model, a model whose vocabulary was extended elsewhere."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from mmgic.errors import InputError
from mmgic.model.assemble import untrained_model, vocabulary_of
from mmgic.settings import Settings, SettingsError
from mmgic.training.checkpoints import load_parameters
from mmgic.training.recipes.pretrain import PRETRAINING, PretrainingResult
from mmgic.training.run import run
from mmgic.training.start import starting_model

MakeRun = Callable[..., Settings]
IDS = torch.arange(3, 70)


@pytest.fixture(scope="module")
def pretrained(tiny_run: MakeRun, tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, PretrainingResult]:
    settings = tiny_run(tmp_path_factory.mktemp("pretrained"))
    return settings, run(PRETRAINING, settings)


def continued(settings: Settings, start: str | Path, **training: object) -> Settings:
    return replace(settings, training=replace(settings.training, name="sft", start=str(start), **training))


@torch.no_grad()
def logits(settings: Settings) -> torch.Tensor:
    return starting_model(settings).eval().logits(IDS, [len(IDS)])


def test_a_run_starts_with_what_another_trained(pretrained: tuple[Settings, PretrainingResult]) -> None:
    settings, result = pretrained
    trained = untrained_model(settings)
    load_parameters(result.checkpoint, trained.trained_parameters())
    ours = starting_model(continued(settings, result.run_folder))
    for name, parameter in trained.trained_parameters().items():
        assert torch.equal(parameter, ours.trained_parameters()[name]), name


def test_an_exported_model_is_not_extended_a_second_time(pretrained: tuple[Settings, PretrainingResult]) -> None:
    """As `training.start` and as `model.llm` it computes what it computed, and its new LoRA begins at nothing."""
    settings, result = pretrained
    with torch.no_grad():
        expected = LlamaForCausalLM.from_pretrained(result.model)(IDS[None]).logits[0]
    as_llm = replace(settings, model=replace(settings.model, llm=str(result.model)))
    assert vocabulary_of(as_llm) == vocabulary_of(settings)
    for start in (continued(settings, result.model), as_llm):
        assert starting_model(start).embedding.table().shape[0] == vocabulary_of(settings).size
        torch.testing.assert_close(logits(start), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits(continued(settings, result.run_folder)), expected, rtol=1e-4, atol=1e-5)


def test_rows_of_any_rank_are_kept(tiny_run: MakeRun, tmp_path: Path) -> None:
    """LaVIT's language model, as `mmgic vision import` writes it, has free rows for its codes: no product of 6 columns
    makes 16 rows of 32."""
    settings = tiny_run(tmp_path)
    vocabulary = vocabulary_of(settings)
    lavit = tmp_path / "lavit"
    shutil.copytree(settings.model.llm, lavit)
    config = LlamaConfig.from_pretrained(settings.model.llm)
    config.vocab_size = vocabulary.size
    torch.manual_seed(0)
    llama = LlamaForCausalLM(config)
    llama.save_pretrained(lavit)
    (lavit / "vl_vocabulary.json").write_text(json.dumps({"text_size": 60, "num_codes": 16}))
    with torch.no_grad():
        expected = llama(IDS[None]).logits[0]
    start = replace(settings, model=replace(settings.model, llm=str(lavit)))
    torch.testing.assert_close(logits(start), expected, rtol=1e-4, atol=1e-5)
    # and so does what is trained from it and exported
    start = replace(start, training=replace(start.training, max_steps=1, learning_rate=0.0))
    result = run(PRETRAINING, start)
    with torch.no_grad():
        exported = LlamaForCausalLM.from_pretrained(result.model)(IDS[None]).logits[0]
    torch.testing.assert_close(exported, expected, rtol=1e-4, atol=1e-5)


def test_a_run_that_began_with_another_can_be_gone_on_with(
    pretrained: tuple[Settings, PretrainingResult], tmp_path: Path
) -> None:
    """A third run on a second that began with an exported model: its frozen weights are that model's."""
    settings, first = pretrained
    second = run(PRETRAINING, continued(settings, first.model, max_steps=2))
    third = continued(settings, second.run_folder)
    with torch.no_grad():
        expected = LlamaForCausalLM.from_pretrained(second.model)(IDS[None]).logits[0]
    torch.testing.assert_close(logits(third), expected, rtol=1e-4, atol=1e-5)
    # the same name with another start is another run
    with pytest.raises(SettingsError, match=r"holds a run with another start; choose another training\.name"):
        run(PRETRAINING, continued(settings, first.run_folder, max_steps=2))


def test_what_is_no_start_is_refused(pretrained: tuple[Settings, PretrainingResult], tmp_path: Path) -> None:
    settings, result = pretrained
    with pytest.raises(InputError, match="neither the folder of a training run with a checkpoint nor an exported"):
        run(PRETRAINING, continued(settings, tmp_path / "nowhere"))
    other = tmp_path / "llama"
    shutil.copytree(settings.model.llm, other)
    LlamaForCausalLM(LlamaConfig.from_pretrained(other)).save_pretrained(other)
    with pytest.raises(InputError, match="was trained from another language model than"):
        starting_model(continued(replace(settings, model=replace(settings.model, llm=str(other))), result.run_folder))
    vocabulary = Path(shutil.copytree(result.model, tmp_path / "codes")) / "vl_vocabulary.json"
    vocabulary.write_text(json.dumps({"text_size": 66, "num_codes": 10}))
    with pytest.raises(InputError, match="knows 10 visual codes but"):
        vocabulary_of(replace(settings, model=replace(settings.model, llm=str(tmp_path / "codes"))))
