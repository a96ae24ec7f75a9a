"""The toy instruction datasets, read by the readers of the real ones, are true of their pictures."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmgic.images import read_image
from mmgic.settings import SourceSettings
from mmgic.sources.formats import read_source
from mmgic.toy.datasets.instructions import DATASETS, write_instructions
from mmgic.toy.datasets.samples import World
from mmgic.toy.world import words
from mmgic.toy.world.dialogue import recoloured
from mmgic.toy.world.scenes import Scene, make_scene

SEED, FIRST, SCENES = 3, 5_000_000, 12
FORMATS = {"llava_mix": "llava", "llavar": "llava", "sharegpt4v": "llava"}
Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("instructions")
    write_instructions(folder, World(SEED), range(FIRST, FIRST + SCENES))
    return folder


@pytest.fixture(scope="module")
def rows(root: Path) -> Rows:
    return {name: _read(root, name) for name in DATASETS}


def _read(root: Path, name: str) -> list[dict[str, Any]]:
    source = SourceSettings(name=name, format=FORMATS.get(name, name), path=str(root / name))  # type: ignore[arg-type]
    return list(read_source(source))


def _scene(number: int) -> Scene:
    return make_scene(SEED, "train", number - 1)


def _questions(row: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["instruction"][-1]["text"], one["response"][0]["text"]) for one in row["rounds"]]


def _right(scene: Scene, question: str) -> str:
    named = next(name for name in question.rstrip("?").split() if name in words.CATEGORIES)
    if question.startswith("Is there"):
        return "yes" if named in scene.categories else "no"
    return next(thing.colour for thing in scene.things if thing.category == named)


def test_every_dataset_has_its_task_and_its_faults(rows: Rows) -> None:
    tasks = {name: Counter(row["task"] for row in found if row["keep"]) for name, found in rows.items()}
    assert set(tasks["llava_mix"]) == {
        *("image_conversation", "open_vqa", "multiple_choice", "image_caption", "text_only")
    }
    assert set(tasks["sharegpt4v"]) == {"detailed_caption", "image_conversation"}
    for name, task in {
        "okvqa": "open_vqa",
        "gqa": "open_vqa",
        "ocrvqa": "open_vqa",
        "aokvqa": "multiple_choice",
        "textcaps": "image_caption",
        "laion_gpt4v": "detailed_caption",
        "instructpix2pix": "image_editing",
        "magicbrush": "image_editing",
        "alpaca": "text_only",
        "sharegpt": "text_only",
        "unimm_chat": "image_conversation",
        "llavar": "image_conversation",
    }.items():
        assert set(tasks[name]) == {task}, name
    reasons = Counter(row["reason"] for found in rows.values() for row in found if not row["keep"])
    assert set(reasons) == {"bad_record", "duplicate_id", "heldout_split", "validation_split"}
    drops = Counter(drop["reason"] for found in rows.values() for row in found for drop in row["drops"])
    assert set(drops) == {"round_malformed", "question_unanswered"}


def test_short_answers_are_true(rows: Rows) -> None:
    checked = 0
    for name in ("okvqa", "gqa", "ocrvqa"):
        for row in filter(lambda row: row["keep"], rows[name]):
            for question, answer in _questions(row):
                assert answer == _right(_scene(int(row["image_id"])), question)
                checked += 1
    for row in (row for row in rows["aokvqa"] if row["keep"]):
        [(question, letter)] = _questions(row)
        asked, *choices = question.split("\n")
        assert f"{letter}. {_right(_scene(int(row['image_id'].split('/')[1])), asked)}" in choices
        checked += 1
    assert checked > 80


def test_an_edit_changes_one_thing_and_nothing_else(rows: Rows) -> None:
    pairs = 0
    for row in (*rows["instructpix2pix"], *rows["magicbrush"]):
        images = [np.asarray(read_image(image["image_path"])).astype(int) for image in row["images"]]
        for instruction, before, after in zip(
            (one["instruction"][-1]["text"] for one in row["rounds"]), images, images[1:], strict=False
        ):
            number = int(row["image_id"].partition("/")[0]) + (1 if row["source"] == "instructpix2pix" else 0)
            named = next(name for name in words.CATEGORIES if f"the {name} " in instruction)
            x, y, w, h = next(thing.box for thing in _scene(number).things if thing.category == named)
            changed = np.argwhere(np.abs(before - after).max(axis=2) > 40)
            assert len(changed) > 10
            (top, left), (bottom, right) = changed.min(axis=0), changed.max(axis=0)
            assert min(left - x, top - y, x + w - right, y + h - bottom) >= -3
            pairs += 1
    assert pairs > 20


def test_edits_keep_held_out_colours_for_evaluation() -> None:
    for number in range(200):
        scene = make_scene(0, "train", number)
        _, after, i = recoloured(scene, np.random.default_rng(number))
        assert after.things[i].colour != scene.things[i].colour
        assert not words.held_out(after.things[i].category, after.things[i].colour)
        assert after.things[:i] + after.things[i + 1 :] == scene.things[:i] + scene.things[i + 1 :]


def test_llavar_repeats_records_of_llava(rows: Rows) -> None:
    said = {name: {str(row["rounds"]) for row in rows[name] if row["keep"]} for name in ("llava", "llavar")}
    assert len(said["llava"] & said["llavar"]) == SCENES // 2 - 1  # one lost its answer in llava


def test_same_world_same_rows(tmp_path: Path, root: Path) -> None:
    write_instructions(tmp_path, World(SEED), range(FIRST, FIRST + SCENES))
    names = sorted(
        path.relative_to(root) for path in root.rglob("*") if path.is_file() and "unpacked" not in path.parts
    )
    assert names == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert all((root / name).read_bytes() == (tmp_path / name).read_bytes() for name in names)
