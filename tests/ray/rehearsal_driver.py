"""Rehearses presets one after the other with one Ray: each from the tables of the preset before it, then to its scores.

The toy world's language model merges the captions of IC.

python rehearsal_driver.py BEFORE NAME...   (in the folder of the downloads)
"""

import os
import shutil
import sys
from itertools import pairwise
from pathlib import Path

from mmgic.evaluation.items import only
from mmgic.evaluation.running import evaluate
from mmgic.pipelines.build import build
from mmgic.presets import preset
from mmgic.settings import load_settings
from mmgic.stages.session import ray_session
from mmgic.toy.downloads.rehearsal import FILE
from mmgic.toy.models.language_model_server import MODEL, serve
from mmgic.training.recipes.pretrain import PRETRAINING
from mmgic.training.run import run


def rehearse(before: str, name: str, server: str) -> None:
    """The presets nest: what the one before has built of its corpora is what this one would build."""
    asked = {"base_url": server, "model": MODEL, "cache": "output/answers.sqlite"}
    # training needs no workers of its own: those of the first preset are trained by the command, on Ray Train
    overrides = ["cluster.training_workers=0", *(f"language_model.{key}={value}" for key, value in asked.items())]
    settings = load_settings(preset(name), FILE, overrides)
    for corpus in ("mmgic", "ic"):
        tables = Path("output", before, corpus)
        if tables.is_dir():
            shutil.copytree(tables, Path(settings.output, corpus))
    build(settings)
    model = run(PRETRAINING, settings).model
    settings = only(settings, ("coco_captions", "pope"))
    evaluate(settings, model, Path(settings.output, "evaluation", model.name))


if __name__ == "__main__":
    with serve() as server:
        os.environ["OPENAI_API_KEY"] = server.token  # before Ray starts, whose workers ask
        with ray_session():
            for before, name in pairwise(sys.argv[1:]):
                rehearse(before, name, server.base_url)
