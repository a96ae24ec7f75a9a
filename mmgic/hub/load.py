"""A dataset folder as a finished table."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from mmgic.errors import InputError
from mmgic.files import file_digest, filesystem_of, find_files, open_file, read_text, whole_file, write_text
from mmgic.hub.layout import (
    DATA,
    IMAGE,
    IMAGES,
    MAX_RECORD_BYTES,
    PICTURES,
    RECORD,
    ExportRecord,
    check_columns,
    read_record,
)
from mmgic.paths import absolute
from mmgic.stages import tables
from mmgic.stages.lifecycle import begin
from mmgic.stages.places import Places
from mmgic.stages.rows import Row
from mmgic.stages.tables import Manifest, Table

IMAGE_FOLDER = "image_folder.txt"  # in an imported table: where its images were written, empty for nowhere
ROWS_PER_FILE = 2000
MAX_GROUP_BYTES = 4 << 30  # of a row group when decompressed
MAX_IMAGE_BYTES = 50_000_000
IMAGES_AT_ONCE = 50
ENDINGS = {b"\xff\xd8\xff": "jpg", b"\x89PNG": "png", b"GIF8": "gif", b"RIFF": "webp", b"BM": "bmp", b"II*\0": "tif"}


def import_dataset(folder: str, output: str, images: str = "") -> Table:
    """Makes the finished table `output` from a folder that `export` wrote, or from Parquet files with its columns.

    The rows are those that were exported, and so is what the table says of its making: a build whose settings are the
    same goes on from it. With `images`, embedded images are written to that folder and the rows point to them; other
    rows keep their paths, of which `read_image` opens those of its STORES alone. Raises InputError if the folder is
    no such dataset, if its files are not those that were exported, and if `output` has its images elsewhere.
    """
    folder, output, images = absolute(folder), absolute(output), images and absolute(images)
    record = _record(folder)
    files = _files(folder, record)
    schema = _checked_schema(files)
    if images and not {IMAGE, IMAGES} & set(schema.names):
        raise InputError(f"{folder} holds no embedded images; import it without --images")
    recipe: Any = record.recipe if record else {"stage": "imported", "input": "", "settings": {}}
    if not record:
        recipe = {**recipe, "settings": {"files": {posixpath.basename(f): file_digest(f) for f in files}}}
    fresh = read_text(posixpath.join(output, tables.SETTINGS)) is None
    filesystem, path = filesystem_of(output)
    if fresh and filesystem.exists(path) and filesystem.ls(path):
        raise InputError(f"{output} is not empty; delete it or import to another folder")
    nonce = recipe.get("nonce")  # of rows that were fetched: this is that very table
    if nonce and fresh:
        write_text(posixpath.join(output, tables.SETTINGS), yaml.safe_dump(dict(recipe), sort_keys=False))
    fingerprint, done = begin(output, recipe["stage"], recipe["settings"], recipe["input"], repeatable=not nonce)
    # not among the settings: where the images are makes no other rows, and a build knows nothing of it
    note, places = posixpath.join(output, IMAGE_FOLDER), _places(output, recipe["stage"])
    if done is not None:
        if images != (before := places.whole_path(read_text(note) or "", "")):
            raise InputError(
                f"{output} has its images in {before or 'the folders they were in before'}, not in "
                f"{images or 'those'}; delete it to import it again"
            )
        return done
    write_text(note, places.stored_path(images, ""))

    rows = _write_rows(files, schema, output, images, places)
    written = tables.open_table(output)
    if record and rows != record.rows:
        raise InputError(f"{folder} has {rows:,} rows, but its {RECORD} says {record.rows:,}; copy it again")
    if "repeat" not in written.schema.names:  # documents of several repeats share their ids
        tables.check_ids(written, rows)
    manifest = Manifest(
        recipe["stage"],
        fingerprint,
        record.rows_in if record else rows,
        **tables.count(written),
        seconds=record.seconds if record else 0.0,
    )
    tables.write_manifest(output, manifest)
    print(manifest.summary(), flush=True)
    return Table(output, manifest)


def _places(output: str, stage: str) -> Places:
    """The run in whose output folder the table takes the place of that `stage`; of a table elsewhere, no place."""
    return Places(output.removesuffix(f"/{stage}") if output.endswith(f"/{stage}") else "")


def _record(folder: str) -> ExportRecord | None:
    filesystem, path = filesystem_of(folder)
    if not filesystem.isdir(path):
        raise InputError(f"{folder} is not a folder; give one that 'mmgic export' wrote")
    where = posixpath.join(path, RECORD)
    if not filesystem.exists(where):
        return None
    if filesystem.size(where) > MAX_RECORD_BYTES:
        raise InputError(f"{where} is larger than the record of an export can be; refusing the folder")
    return read_record(str(filesystem.read_text(where, encoding="utf-8")), where)


def _files(folder: str, record: ExportRecord | None) -> list[str]:
    """The folder's Parquet files, which are exactly those of the record, if there is one."""
    found = find_files(posixpath.join(folder, DATA, "*.parquet"))
    if not found:
        raise InputError(f"{folder} holds no {DATA}/*.parquet; give a folder that 'mmgic export' wrote")
    if record is None:
        return found
    filesystem, _ = filesystem_of(folder)
    files = []
    for name, entry in record.files.items():
        path = posixpath.join(folder, name)
        if not filesystem.exists(path):
            raise InputError(f"{path} is missing; copy the folder again")
        if filesystem.size(path) != entry["bytes"] or file_digest(path) != entry["sha256"]:
            raise InputError(f"{path} is not the file that was exported (see {RECORD}); copy the folder again")
        files.append(path)
    if extra := {posixpath.basename(file) for file in found} - {posixpath.basename(file) for file in files}:
        raise InputError(f"{folder}/{DATA} holds {min(extra)}, which the export did not write; remove it")
    return files


def _checked_schema(files: list[str]) -> pa.Schema:
    """The one schema of the files, read from their footers."""
    first: pa.Schema | None = None
    for path in files:
        try:
            with open_file(path) as file:
                parquet = pq.ParquetFile(file)
                schema, metadata = parquet.schema_arrow.remove_metadata(), parquet.metadata
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{path} is not a Parquet file ({error}); copy the folder again") from None
        if any(metadata.row_group(i).total_byte_size > MAX_GROUP_BYTES for i in range(metadata.num_row_groups)):
            raise InputError(f"{path} has a row group of more than {MAX_GROUP_BYTES:,} bytes; write it in smaller ones")
        first = first or schema
        if schema != first:
            raise InputError(f"{path} has other columns than {files[0]}; give files of one table")
    assert first is not None
    check_columns(first, files[0])
    return first


def _write_rows(files: list[str], schema: pa.Schema, output: str, images: str, places: Places) -> int:
    """Writes the rows to `output` in parts and returns their number."""
    kept = pa.schema([field for field in schema if field.name not in (IMAGE, IMAGES, PICTURES)])
    rows = 0
    waiting: list[pa.Table] = []

    def flush() -> None:
        nonlocal rows
        part = pa.concat_tables(waiting)
        tables.write_part(f"{output}/part-{rows // ROWS_PER_FILE:06}.parquet", part)
        rows += part.num_rows
        waiting.clear()

    for table in _tables(files, schema, kept, images, places):
        while table.num_rows:
            room = ROWS_PER_FILE - sum(part.num_rows for part in waiting)
            waiting.append(table.slice(0, room))
            table = table.slice(room)
            if sum(part.num_rows for part in waiting) == ROWS_PER_FILE:
                flush()
    if waiting or not rows:
        flush() if waiting else tables.write_part(f"{output}/part-000000.parquet", kept.empty_table())
    return rows


def _tables(files: list[str], schema: pa.Schema, kept: pa.Schema, images: str, places: Places) -> Iterator[pa.Table]:
    columns = schema.names if images else kept.names
    for path in files:
        with open_file(path) as file:
            parquet = pq.ParquetFile(file)
            size = IMAGES_AT_ONCE if images else ROWS_PER_FILE
            for batch in parquet.iter_batches(batch_size=size, columns=columns):
                if images:
                    rows = [places.store(_unpacked(row, images)) for row in batch.to_pylist()]
                    yield pa.Table.from_pylist(rows, schema=kept)
                else:
                    yield pa.Table.from_batches([batch]).cast(kept)


def _unpacked(row: Row, folder: str) -> Row:
    """A row that points to its embedded images, once they are written to `folder`."""
    if IMAGE in row:
        return {**row, "image_path": _unpack(row[IMAGE], f"{folder}/{_name(row)}", row["image_path"])}
    pairs = enumerate(zip(row["images"], row[IMAGES] or [None] * len(row["images"]), strict=True))
    images = [
        {**image, "image_path": _unpack(file, f"{folder}/{_name(row)}-{i}", image["image_path"])}
        for i, (image, file) in pairs
    ]
    return {**row, "images": images}


def _name(row: Row) -> str:
    return f"{row['row_id'] & (2**64 - 1):016x}"


def _unpack(file: dict[str, Any] | None, path: str, before: str) -> str:
    if file is None or not file["bytes"]:
        return before
    content = file["bytes"]
    if len(content) > MAX_IMAGE_BYTES:
        raise InputError(f"an embedded image has {len(content):,} bytes, more than {MAX_IMAGE_BYTES:,}; refusing it")
    ending = next((ending for magic, ending in ENDINGS.items() if content.startswith(magic)), "img")
    path = f"{path}.{ending}"
    with whole_file(path) as out:
        out.write(content)
    return path
