"""Image editing: InstructPix2Pix and MagicBrush.

InstructPix2Pix as folders: seeds.json = [[folder, [seed, ...]], ...], `<folder>/prompt.json` with "edit", and
`<folder>/<seed>_0.jpg`, `_1.jpg` before and after. Both as Parquet with the images inside: original_image (or
input_image), edit_prompt and edited_image; img_id, turn_index, source_img, instruction and target_img.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import fsspec

from mmgic.errors import InputError
from mmgic.schema import reject
from mmgic.settings import SourceSettings
from mmgic.sources.instructions.pictures import Pictures
from mmgic.sources.reading.files import collapse_spaces, is_safe_name, stream_json, text_id
from mmgic.sources.reading.index import RecordIndex
from mmgic.sources.reading.json_text import load_json
from mmgic.sources.reading.records import annotation_paths, parquet_records
from mmgic.sources.rows import Part, image_part, interleaved, text_part

_ROWS = 32  # of a Parquet file with images that are in memory at once
_PIX2PIX = {
    "before": ("original_image", "input_image"),
    "edit": ("edit_prompt", "edit"),
    "after": ("edited_image", "output_image"),
}
_MAGICBRUSH = {
    "session": ("img_id",),
    "turn": ("turn_index",),
    "before": ("source_img",),
    "edit": ("instruction",),
    "after": ("target_img",),
}
_SPLITS = {"test": "heldout_split", "dev": "validation_split", "validation": "validation_split"}


def read_instructpix2pix(source: SourceSettings) -> Iterator[dict[str, Any]]:
    """Yields a row per prompt; of a folder's several samples, the first one is taken."""
    filesystem, _ = fsspec.url_to_fs(source.path)
    seeds = posixpath.join(source.path, "seeds.json")
    if not source.annotations and filesystem.exists(seeds):
        yield from _pix2pix_folders(source, seeds)
        return
    paths = annotation_paths(source, ("*.parquet", "data/*.parquet"), "InstructPix2Pix's seeds.json or Parquet files")
    pictures = Pictures(source)
    for path in paths:
        file, number = posixpath.basename(path), 0
        for number, record in enumerate(parquet_records(path, _PIX2PIX, rows=_ROWS), start=1):
            record_id = f"{file.removesuffix('.parquet')}#{number}"
            images = [pictures.path(record[side], f"{record_id}_{side}") for side in ("before", "after")]
            yield edit_row(source.name, record_id, 0, images, [collapse_spaces(record["edit"])])
        if not number:
            raise InputError(f"{path} holds no records; set 'annotations' to InstructPix2Pix's files")


def _pix2pix_folders(source: SourceSettings, seeds: str) -> Iterator[dict[str, Any]]:
    filesystem, _ = fsspec.url_to_fs(source.path)
    with RecordIndex() as index:
        found = False
        for number, entry in enumerate(stream_json(seeds, "item")):
            found = True
            folder, numbers = entry if isinstance(entry, list) and len(entry) == 2 else ("", [])
            seed = text_id(next(iter(numbers), None)) if isinstance(numbers, list) else ""
            if not is_safe_name(folder) or not seed.isdecimal():
                verdict: dict[str, Any] = reject("bad_record", f"seeds.json#{number} names no folder with a sample")
                yield interleaved(source.name, f"seeds.json#{number}", 0, "image_editing", **verdict)
                continue
            prompt = posixpath.join(source.path, folder, "prompt.json")
            try:
                fields = load_json(filesystem.cat_file(fsspec.url_to_fs(prompt)[1]).decode())
            except (OSError, ValueError, RecursionError):
                fields = None
            edit = collapse_spaces(fields.get("edit")) if isinstance(fields, dict) else ""
            images = [posixpath.join(source.path, folder, f"{seed}_{side}.jpg") for side in (0, 1)]
            yield edit_row(source.name, folder, index.times_seen(folder), images, [edit])
        if not found:
            raise InputError(f"{seeds} lists nothing; download it again")


def read_magicbrush(source: SourceSettings) -> Iterator[dict[str, Any]]:
    """Yields a row per session of edits, each of which goes on with the image that the one before it left.

    A session is the rows of one img_id, which follow each other. Where a turn is missing, a session ends and the rest
    is one of its own. Files of the test and dev splits are set aside.
    """
    patterns = ("train-*.parquet", "data/train-*.parquet", "*.parquet")
    paths = annotation_paths(source, patterns, "MagicBrush's Parquet files")
    pictures = Pictures(source)
    with RecordIndex() as index:
        for path in paths:
            split = posixpath.basename(path).partition("-")[0].partition(".")[0]
            found = False
            records = parquet_records(path, _MAGICBRUSH, rows=_ROWS)
            for session, turns in groupby(records, key=lambda record: text_id(record["session"])):
                found = True
                for row in _sessions(source.name, session, turns, pictures, index):
                    yield {**row, **reject(_SPLITS[split], f"{split} split")} if split in _SPLITS else row
            if not found:
                raise InputError(f"{path} holds no records; set 'annotations' to MagicBrush's files")


def _sessions(
    source: str, session: str, records: Iterator[dict[str, Any]], pictures: Pictures, index: RecordIndex
) -> Iterator[dict[str, Any]]:
    images: list[str] = []
    edits: list[str] = []
    first = last = -1
    for record in records:
        turn = record["turn"] if isinstance(record["turn"], int) else last + 1
        if images and turn != last + 1:
            yield _session_row(source, session, first, images, edits, index)
            images, edits = [], []
        if not images:
            first = turn
            images = [pictures.path(record["before"], f"{session}_{turn}_before")]
        images.append(pictures.path(record["after"], f"{session}_{turn}_after"))
        edits.append(collapse_spaces(record["edit"]))
        last = turn
    yield _session_row(source, session, first, images, edits, index)


def _session_row(
    source: str, session: str, first: int, images: list[str], edits: list[str], index: RecordIndex
) -> dict[str, Any]:
    record_id = f"{session}/{first}"
    return edit_row(source, record_id, index.times_seen(record_id), images, edits)


def edit_row(source: str, record_id: str, times_seen: int, images: list[str], edits: list[str]) -> dict[str, Any]:
    """The row of `edits` one after the other; `images` are the first one and what each edit made."""
    whole = 0  # edits before the first one that lacks its words or its image
    while images[0] and whole < len(edits) and edits[whole] and images[whole + 1]:
        whole += 1
    drops = ["round_malformed"] * (len(edits) - whole)
    if not whole:
        verdict: dict[str, Any] = reject("bad_record", "the first edit has no instruction or lacks an image")
        return interleaved(source, record_id, times_seen, "image_editing", drops=drops, **verdict)
    rounds: list[tuple[list[Part], list[Part]]] = []
    for i, edit in enumerate(edits[:whole]):
        rounds.append(([*([] if i else [image_part(0)]), text_part(edit)], [image_part(i + 1)]))
    return interleaved(source, record_id, times_seen, "image_editing", images[: whole + 1], rounds, drops=drops)
