"""The road from annotations on disk to scores, as the steps that jobs call. Each step skips what is already done."""

from __future__ import annotations

from pathlib import Path

from transformers.utils.logging import disable_progress_bar

from mmgic.pipelines.build import BuildReport, build, build_tables
from mmgic.pipelines.build import check_corpus as check_corpus
from mmgic.schema import Corpus
from mmgic.settings import Settings
from mmgic.stages.session import ray_session as ray_session
from mmgic.stages.tables import Table
from mmgic.toy.datasets.write import make_world
from mmgic.training.export import export_checkpoint
from mmgic.training.recipes.pretrain import run, training_folder

disable_progress_bar()  # of weights that load in a blink


def prepare_data(settings: Settings) -> BuildReport:
    """Makes the toy world where the settings ask for one, then builds documents, visual tokens and the token store."""
    _prepare_world(settings)
    return build(settings)


def prepare_tables(settings: Settings, corpus: Corpus) -> list[Table]:
    """Like `prepare_data`, of one corpus alone and without the token store."""
    _prepare_world(settings)
    return build_tables(settings, corpus)


def _prepare_world(settings: Settings) -> None:
    if settings.toy.scenes:
        make_world(Path(settings.output) / "world", settings.toy.scenes, settings.toy.seed)


def pretrain(settings: Settings) -> Path:
    """Trains on the token store and returns the exported Llama folder, `<output>/training/<name>/model`."""
    result = run(settings)
    model = training_folder(settings) / "model"
    if not model.exists():  # an export appears only when it is complete
        export_checkpoint(result.checkpoint, settings, model)
    return model
