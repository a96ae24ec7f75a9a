"""Image editing: InstructPix2Pix and MagicBrush.

InstructPix2Pix as folders: seeds.json = [[folder, [seed, ...]], ...], `<folder>/prompt.json` with "edit", and
`<folder>/<seed>_0.jpg`, `_1.jpg` before and after. Both as Parquet with the images inside: original_image (or
input_image), edit_prompt and edited_image; img_id, turn_index, source_img, instruction and target_img.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from typing import Any

from mmgic.errors import InputError
from mmgic.schema import Interleaved, Part, reject
from mmgic.settings import SourceSettings
from mmgic.sources.instructions.pictures import Pictures
from mmgic.sources.reading.files import as_number, collapse_spaces, is_safe_name, text_id
from mmgic.sources.reading.index import RecordIndex
from mmgic.sources.reading.json_files import json_array, read_json
from mmgic.sources.reading.records import source_records, table_records
from mmgic.sources.rows import image_part, interleaved, text_part

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


def read_instructpix2pix(source: SourceSettings) -> Iterator[Interleaved]:
    """Yields a row per prompt; of a folder's several samples, the first one is taken."""
    pictures = Pictures(source)
    with RecordIndex() as index:
        for where, record in source_records(source, _pix2pix_records):
            if ".json#" in where:
                yield _folder_row(source, where, record, index)
            else:
                images = [pictures.path(record[side], f"{where}_{side}") for side in ("before", "after")]
                yield edit_row(source.name, where, 0, images, [collapse_spaces(record["edit"])])


def _pix2pix_records(path: str) -> Iterator[tuple[int, Any]]:
    return json_array(path) if ".json" in posixpath.basename(path) else table_records(path, _PIX2PIX, rows=_ROWS)


def _folder_row(source: SourceSettings, where: str, entry: Any, index: RecordIndex) -> Interleaved:
    """The row of one entry of seeds.json, [folder, [seed, ...]]."""
    folder, numbers = entry if isinstance(entry, list) and len(entry) == 2 else ("", [])
    seed = text_id(next(iter(numbers), None)) if isinstance(numbers, list) else ""
    if not is_safe_name(folder) or not seed.isdecimal():
        verdict = reject("bad_record", f"{where} names no folder with a sample")
        return interleaved(source.name, where, 0, "image_editing", **verdict)
    try:
        fields = read_json(posixpath.join(source.path, folder, "prompt.json"))
    except InputError:
        fields = None
    edit = collapse_spaces(fields.get("edit")) if isinstance(fields, dict) else ""
    images = [posixpath.join(source.path, folder, f"{seed}_{side}.jpg") for side in (0, 1)]
    return edit_row(source.name, folder, index.times_seen(folder), images, [edit])


def read_magicbrush(source: SourceSettings) -> Iterator[Interleaved]:
    """Yields a row per session of edits, each of which goes on with the image that the one before it left.

    A session is the rows of one img_id, which follow each other. Where a turn is missing, a session ends and the rest
    is one of its own. Files of the test and dev splits are set aside.
    """
    pictures = Pictures(source)
    records = source_records(source, partial(table_records, columns=_MAGICBRUSH, rows=_ROWS))
    with RecordIndex() as index:
        for (split, session), turns in groupby(records, key=_split_and_session):
            for row in _sessions(source.name, session, (turn for _, turn in turns), pictures, index):
                yield {**row, **reject(_SPLITS[split], f"{split} split")} if split in _SPLITS else row


def _split_and_session(record: tuple[str, dict[str, Any]]) -> tuple[str, str]:
    """The split is the first word of the file's name, such as "train" in train-00000-of-00051.parquet."""
    where, turn = record
    return re.split(r"[-.]", where)[0], text_id(turn["session"])


def _sessions(
    source: str, session: str, records: Iterator[dict[str, Any]], pictures: Pictures, index: RecordIndex
) -> Iterator[Interleaved]:
    images: list[str] = []
    edits: list[str] = []
    first = last = -1
    for record in records:
        number = as_number(record["turn"])  # a column with gaps holds floats
        turn = last + 1 if number is None else int(number)
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
) -> Interleaved:
    record_id = f"{session}/{first}"
    return edit_row(source, record_id, index.times_seen(record_id), images, edits)


def edit_row(source: str, record_id: str, times_seen: int, images: list[str], edits: list[str]) -> Interleaved:
    """The row of `edits` one after the other; `images` are the first one and what each edit made."""
    whole = 0  # edits before the first one that lacks its words or its image
    while images[0] and whole < len(edits) and edits[whole] and images[whole + 1]:
        whole += 1
    drops = ["round_malformed"] * (len(edits) - whole)
    if not whole:
        verdict = reject("bad_record", "the first edit has no instruction or lacks an image")
        return interleaved(source, record_id, times_seen, "image_editing", drops=drops, **verdict)
    rounds: list[tuple[list[Part], list[Part]]] = []
    for i, edit in enumerate(edits[:whole]):
        rounds.append(([*([] if i else [image_part(0)]), text_part(edit)], [image_part(i + 1)]))
    return interleaved(source, record_id, times_seen, "image_editing", images[: whole + 1], rounds, drops=drops)
