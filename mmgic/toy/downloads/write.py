"""Writes the stand-ins: data/ and models/ below one folder, where the paper's presets look for them.

data/      detection, texts and evaluation say which files; descriptions.jsonl and names.tsv of the labels
models/    lavit/visual_tokenizer llama-2-7b-hf blip2-opt-2.7b clip-vit-large-patch14
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from mmgic.cleaning.senses import NAMES
from mmgic.descriptions.review import append_review
from mmgic.errors import InputError
from mmgic.toy.datasets.image_captions import write_mmc4
from mmgic.toy.datasets.samples import World, write_bytes, write_lines
from mmgic.toy.datasets.write import descriptions
from mmgic.toy.downloads.captioning import write_blip2, write_clip
from mmgic.toy.downloads.detection import write_detection
from mmgic.toy.downloads.evaluation import write_evaluation
from mmgic.toy.downloads.lavit import write_lavit
from mmgic.toy.downloads.llama import write_llama
from mmgic.toy.downloads.rehearsal import FILE, rehearsal_yaml
from mmgic.toy.downloads.texts import write_caption_downloads, write_instruction_downloads

WEIGHTS = Path(__file__).parents[1] / "weights"
# a label sense that Visual Genome's annotators met
_BUS = {
    "source": "visual_genome",
    "label": "bus",
    "synset": "bus.n.04",
    "count": "2",
    "definition": "a car that is old and unreliable",
    "name": "bus (old car)",
}
SCALE = 3  # pictures have at least 288 pixels a side, as the paper keeps those of 224 or more


def write_downloads(output: Path, seed: int = 0) -> None:
    """Writes all stand-ins and rehearsal.yaml to `output`; the same seed gives the same bytes.

    The folder appears only when it is complete. Raises InputError if it holds something already.
    """
    output = Path(output)
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise InputError(f"{output} is not empty; delete it or choose another folder for the stand-ins")
    partial = output.with_name(f"{output.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    _write_data(partial / "data", World(seed, scale=SCALE))
    _write_models(partial / "models", World(seed, scale=SCALE))
    write_bytes(partial / FILE, rehearsal_yaml().encode())
    os.replace(partial, output)


def _write_data(data: Path, world: World) -> None:
    karpathy = write_detection(data, world, range(0, 64))
    write_caption_downloads(data, world, range(1_000, 1_048))
    write_mmc4(data, world, range(2_000, 2_018))
    write_instruction_downloads(data, world, range(3_000, 3_012))
    write_evaluation(data, world, 12, karpathy)
    write_lines(data / "descriptions.jsonl", descriptions())
    append_review(str(data / "names.tsv"), NAMES, [_BUS])


def _write_models(models: Path, world: World) -> None:
    write_lavit(models / "lavit/visual_tokenizer", world)
    write_llama(models / "llama-2-7b-hf", WEIGHTS / "llama")
    write_blip2(models / "blip2-opt-2.7b", WEIGHTS / "blip2")
    write_clip(models / "clip-vit-large-patch14", WEIGHTS / "clip_ranker", world)
