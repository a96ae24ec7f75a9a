"""Writes a toy world to disk in the datasets' own formats.

visual_genome/   image_data.json objects.json attributes.json relationships.json captions.json VG_100K/ VG_100K_2/
objects365/      annotations/zhiyuan_objv2_train.json captions.json images/v1/patchN/
objects365_v1/ v3det/ visual_genome_ambiguous/                            see mmgic.toy.datasets.detection
open_images/                                                              see open_images
vqav2/           v2_OpenEnded_mscoco_train2014_questions.json v2_mscoco_train2014_annotations.json train2014/
blip_captions/ capsfusion/ laion_coco_aesthetic/ journeydb/ cc3m/ cc12m/ sbu/ webdataset/ mmc4/ image_captions/
                                                                          see image_captions
llava/ llava_mix/ llavar/ sharegpt4v/ unimm_chat/ okvqa/ gqa/ ocrvqa/ aokvqa/ textcaps/ laion_gpt4v/ instructpix2pix/
magicbrush/ alpaca/ sharegpt/                                             see instructions
karpathy/ coco/ pope/ …                        evaluation scenes, as each benchmark writes its files
descriptions.jsonl                                                        what each label means
world.json                                                                what the folder holds

WRITERS lists the training datasets; to add one is to add a line. A benchmark says itself how its files are written.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from mmgic.errors import InputError, about
from mmgic.evaluation.registry import benchmarks
from mmgic.settings import Settings
from mmgic.toy.datasets.benchmarks import MAX_SCENES, examples
from mmgic.toy.datasets.detection import write_ambiguous_visual_genome, write_objects365_v1, write_v3det
from mmgic.toy.datasets.image_captions import write_image_captions, write_mmc4, write_sound_pairs
from mmgic.toy.datasets.instructions import write_instructions
from mmgic.toy.datasets.open_images import MADE_OF_METAL, write_open_images
from mmgic.toy.datasets.samples import World, write_json, write_lines
from mmgic.toy.datasets.tables import write_first_sources
from mmgic.toy.world import text, words

VERSION = 6  # raised whenever the same seed gives other bytes


@dataclass(frozen=True)
class Writer:
    """Writes one or more training datasets.

    `write(root, world, numbers)` makes the datasets' folders below `root` from the training scenes `numbers`, which
    start at `first`: ranges are far apart, so that datasets share no pictures by accident. `images` says how many
    scenes a dataset gets in a world of `scenes`. Whatever is random comes from `world.generator`.
    """

    name: str
    write: Callable[[Path, World, range], None]
    first: int
    images: Callable[[int], int]

    def numbers(self, scenes: int) -> range:
        return range(self.first, self.first + self.images(scenes))


def _some(scenes: int) -> int:
    """Enough scenes to show a format and its faults, and no more than a sixteenth of a large world."""
    return max(48, scenes // 16)


WRITERS = (
    Writer("first", write_first_sources, 0, lambda scenes: scenes),
    Writer("open_images", write_open_images, 1_000_000, _some),
    Writer("objects365_v1", write_objects365_v1, 1_200_000, _some),
    Writer("v3det", write_v3det, 1_400_000, _some),
    Writer("visual_genome_ambiguous", write_ambiguous_visual_genome, 1_600_000, _some),
    Writer("image_captions", write_image_captions, 3_000_000, lambda scenes: max(48, scenes // 4)),
    Writer("sound_pairs", write_sound_pairs, 3_500_000, lambda scenes: max(8, scenes // 2)),
    Writer("mmc4", write_mmc4, 4_000_000, lambda scenes: max(24, scenes // 8)),
    Writer("instructions", write_instructions, 5_000_000, lambda scenes: max(24, scenes // 32)),
)


@dataclass(frozen=True)
class WorldSummary:
    """What a world holds; the content of its world.json."""

    version: int
    seed: int
    scenes: int  # training scenes of Visual Genome, Objects365 and VQAv2
    evaluation_scenes: int
    images: dict[str, int]  # by writer


def ensure_world(settings: Settings) -> None:
    """Makes the toy world in `<output>/world` if the settings ask for one. Raises like `make_world`."""
    if settings.toy.scenes:
        with about(settings.output):
            make_world(Path(settings.output) / "world", settings.toy.scenes, settings.toy.seed)


def make_world(
    output: Path, scenes: int, seed: int, progress: Callable[[int, int], None] | None = None
) -> WorldSummary:
    """Writes the world of `seed` with `scenes` training scenes and max(64, scenes // 20) evaluation scenes to `output`.

    The same arguments give the same bytes. A folder that already holds this world is left as it is; the folder appears
    only when it is complete. `progress` is called with (scenes done, scenes in all). Raises InputError if `output`
    holds anything else or `scenes` is not between 1 and 100,000.
    """
    if not 1 <= scenes <= MAX_SCENES:
        raise InputError(f"a toy world has between 1 and {MAX_SCENES} scenes, not {scenes}")
    evaluation = max(64, scenes // 20)
    images = {writer.name: writer.images(scenes) for writer in WRITERS}
    summary = WorldSummary(VERSION, seed, scenes, evaluation, images)
    output = Path(output)
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        if _holds(output, summary):
            return summary
        raise InputError(
            f"{output} holds something else than the toy world of seed {seed} with {scenes} scenes; "
            "delete it or choose another folder"
        )
    partial = output.with_name(f"{output.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    world = World(seed, _counter(sum(images.values()) + evaluation, progress))
    for writer in WRITERS:
        writer.write(partial, world, writer.numbers(scenes))
    shown = examples(world, evaluation)
    for benchmark in benchmarks().values():
        benchmark.write_examples(shown, partial)
    write_lines(partial / "descriptions.jsonl", descriptions())
    write_json(partial / "world.json", asdict(summary))
    os.replace(partial, output)
    return summary


def _counter(total: int, progress: Callable[[int, int], None] | None) -> Callable[[], None]:
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, total)

    return count


def descriptions() -> list[dict[str, str]]:
    """The rows of descriptions.jsonl: `kind` (object, attribute or relationship), `label` and `description`."""
    meanings = {
        "object": {category.name: category.description for category in words.CATEGORIES.values()},
        "attribute": words.ATTRIBUTE_DESCRIPTIONS | {MADE_OF_METAL: words.ATTRIBUTE_DESCRIPTIONS["metal"]},
        "relationship": words.RELATIONSHIP_DESCRIPTIONS,
    }
    return [
        {"kind": kind, "label": label, "description": text.sentence(meaning)}
        for kind, labels in meanings.items()
        for label, meaning in labels.items()
    ]


def _holds(output: Path, summary: WorldSummary) -> bool:
    try:
        found = json.loads((output / "world.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(found == asdict(summary))
