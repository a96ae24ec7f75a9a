"""The model that a run starts from: the language model as it is, what another run trained, or an exported model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgic.errors import InputError
from mmgic.files import model_fingerprint, read_mapping
from mmgic.model.vocabulary import VOCABULARY_FILE
from mmgic.settings import Settings
from mmgic.training.checkpoints import load_parameters, newest_checkpoint
from mmgic.training.metrics import SETTINGS_FILE
from mmgic.training.recipe import INPUTS_FILE

if TYPE_CHECKING:
    from mmgic.model.vl_llama import VLLlama

LANGUAGE_MODEL = "language model"  # in a run's inputs
_ADVICE = "train that run again, or set training.start to another one"


def starting_model(settings: Settings, **options: Any) -> VLLlama:
    """What `training.start` names, or else the untrained model; `options` are `build_model`'s. Raises InputError if it
    is unusable.

    A run goes on with its newest checkpoint, LoRA and all. An exported model gets a new LoRA; its vocabulary, which is
    extended already, and the rows of its visual tokens stay as they are.
    """
    from mmgic.model.assemble import untrained_model

    start = settings.training.start
    if not start:
        return untrained_model(settings, **options)
    check_start(settings)
    if is_export(start):
        return untrained_model(replace(settings, model=replace(settings.model, llm=start)), **options)
    before = (read_mapping(f"{start}/{SETTINGS_FILE}", _ADVICE) or {})["training"]["start"]
    model = starting_model(replace(settings, training=replace(settings.training, start=before)), **options)
    load_parameters(_newest(start), model.trained_parameters())
    return model


def check_start(settings: Settings) -> None:
    """Raises InputError if `training.start` names neither a run with a checkpoint nor an exported model, or a run that
    trained another language model than `model.llm`."""
    start = settings.training.start
    if not start or is_export(start):
        return
    inputs = read_mapping(f"{start}/{INPUTS_FILE}", _ADVICE)
    if inputs is None or not newest_checkpoint(Path(start)):
        raise InputError(
            f"'training.start' is {start}, which is neither the folder of a training run with a checkpoint nor an "
            "exported model; train that run first, or leave it empty to start from model.llm"
        )
    if inputs.get(LANGUAGE_MODEL) != model_fingerprint(settings.model.llm):
        raise InputError(
            f"{start} was trained from another language model than {settings.model.llm}; set model.llm to that one, "
            f"or training.start to the exported model {start}/model"
        )


def start_fingerprint(settings: Settings) -> str:
    """What tells the start from others; "" if it is `model.llm`. Raises like `check_start`."""
    check_start(settings)
    start = settings.training.start
    if not start:
        return ""
    return model_fingerprint(start if is_export(start) else _newest(start))


def _newest(run_folder: str) -> Path:
    found = newest_checkpoint(Path(run_folder))
    assert found, "check_start has seen it"
    return found


def is_export(folder: str) -> bool:
    """If `folder` holds an exported model, rather than a run."""
    return (Path(folder) / VOCABULARY_FILE).is_file()
