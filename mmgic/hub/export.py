"""A finished table as a dataset folder."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet as pq

from mmgic.documents.folders import tokens_tables
from mmgic.errors import InputError
from mmgic.files import file_digest, filesystem_of, read_mapping, remove, write_text
from mmgic.hub.card import dataset_card
from mmgic.hub.layout import (
    CARD,
    DATA,
    IMAGE,
    IMAGE_FILE,
    IMAGES,
    PICTURES,
    RECORD,
    UNFINISHED,
    ExportRecord,
    check_columns,
)
from mmgic.images import ImageError, read_bytes
from mmgic.paths import absolute
from mmgic.pipelines.places import places_near
from mmgic.stages import tables
from mmgic.stages.places import Places
from mmgic.stages.tables import Table

SHARD_BYTES = 500_000_000  # of Arrow data in a file, as the Hub advises
ROWS_AT_ONCE = 1000
IMAGES_AT_ONCE = 50
MAX_IMAGE_BYTES = 50_000_000


def export(dataset: str, folder: str, images: bool = False, shard_bytes: int = SHARD_BYTES) -> ExportRecord:
    """Writes the finished table in `dataset` (or all below it, if they have one schema) to the new `folder`.

    With `images` the image files of kept rows are embedded as they are, beside the text of documents those of the rows
    that they were made of; what is missing or no image is null, and
    counted in the record. Rows that were set aside are exported too: a table says what became of every record. Memory
    does not grow with the table. Raises InputError if there is no finished table, and if `folder` is in use.
    """
    dataset, folder = absolute(dataset), absolute(folder)
    found = tables.finished_tables(dataset)
    if not found:
        raise InputError(f"{dataset} holds no finished table; give the folder of a stage that has a {tables.MANIFEST}")
    rows = _one_dataset(found)
    filesystem, path = filesystem_of(folder)
    if filesystem.exists(path) and any(posixpath.basename(n) != UNFINISHED for n in filesystem.ls(path, detail=False)):
        raise InputError(f"{folder} is not empty; delete it or export to another folder")
    embed = _embedding(rows.schema, found[0].name, places_near(dataset)) if images else None
    unfinished = posixpath.join(folder, UNFINISHED)
    remove(unfinished)  # what an export that was cut short left

    _, made = filesystem_of(unfinished)
    shards = _write_shards(rows, unfinished, embed, shard_bytes)
    files = {}
    for number, (name, size) in enumerate(shards):
        final = f"{DATA}/train-{number:05}-of-{len(shards):05}.parquet"
        filesystem.mv(posixpath.join(made, name), posixpath.join(made, final))
        files[final] = {"bytes": size, "sha256": file_digest(posixpath.join(unfinished, final))}
    manifests = [table.manifest for table in found]
    record = ExportRecord(
        recipe=_recipe(found),
        rows_in=sum(manifest.rows_in for manifest in manifests),
        seconds=sum(manifest.seconds for manifest in manifests),
        rows=rows.count_rows(),
        files=files,
        not_embedded=dict(sorted(embed.not_embedded.items())) if embed else {},
    )
    write_text(posixpath.join(unfinished, CARD), dataset_card(dataset, rows, manifests, record, images))
    write_text(posixpath.join(unfinished, RECORD), record.to_json())
    for name in (CARD, RECORD, DATA):  # the data last and at once: nobody reads a part of it
        filesystem.mv(posixpath.join(made, name), posixpath.join(path, name), recursive=True)
    remove(unfinished)
    return record


def _one_dataset(found: list[Table]) -> pyarrow.dataset.Dataset:
    schemas = [tables.open_table(table.folder).schema for table in found]
    for table, schema in zip(found, schemas, strict=True):
        if schema != schemas[0]:
            raise InputError(
                f"{found[0].folder} and {table.folder} have different columns and make no one dataset; export each by "
                "itself"
            )
    check_columns(schemas[0], found[0].folder)
    return tables.open_table(*(table.folder for table in found))


def _recipe(found: list[Table]) -> dict[str, Any]:
    """The content of a table's settings.yaml; of several tables, such as the repeats of documents, side by side."""
    recipes = []
    for table in found:
        known = read_mapping(posixpath.join(table.folder, tables.SETTINGS), f"delete {table.folder} and build it again")
        recipes.append(known or {"stage": table.name, "input": table.manifest.fingerprint, "settings": {}})
    if len(recipes) == 1:
        return dict(recipes[0])
    stage = posixpath.commonpath([table.name for table in found])
    return {"stage": stage or "tables", "input": "", "settings": {"tables": recipes}}


def _write_shards(
    table: pyarrow.dataset.Dataset, folder: str, embed: _Embedding | None, shard_bytes: int
) -> list[tuple[str, int]]:
    """Writes the rows in files of about `shard_bytes` and returns each one's name in `folder` and its size."""
    filesystem, path = filesystem_of(folder)
    filesystem.makedirs(posixpath.join(path, DATA), exist_ok=True)
    schema = embed.schema if embed else table.schema.remove_metadata()
    batches = (
        embed(part) if embed else part
        for batch in table.to_batches(batch_size=ROWS_AT_ONCE, batch_readahead=2, fragment_readahead=1)
        for part in _slices(batch, IMAGES_AT_ONCE if embed else ROWS_AT_ONCE)
    )
    written: list[tuple[str, int]] = []
    batch = next(batches, None)
    while batch is not None or not written:
        name = f"{DATA}/unfinished-{len(written):05}"
        with filesystem.open(posixpath.join(path, name), "wb") as file, pq.ParquetWriter(file, schema) as writer:
            size = 0
            while batch is not None and size < shard_bytes:
                writer.write_table(pa.Table.from_batches([batch]).cast(schema))
                size += batch.nbytes
                batch = next(batches, None)
        written.append((name, int(filesystem.size(posixpath.join(path, name)))))
    return written


def _slices(batch: pa.RecordBatch, rows: int) -> Iterator[pa.RecordBatch]:
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)


class DocumentImages:
    """Where the images of documents are: 100 bytes an image in memory. Raises InputError if no tokens are there."""

    def __init__(self, places: Places, documents: str) -> None:
        tokens = [table for name in tokens_tables(documents) if (table := places.table(name))]
        if not tokens:
            raise InputError(f"{documents} names no images, nor does a tokens table beside it; export without --images")
        found = [part for table in tokens for part in _image_paths(table)]
        self._ids = np.concatenate([np.empty(0, np.int64), *(ids for ids, _, _ in found)])
        self._sources = pa.chunked_array([sources for _, sources, _ in found], pa.string())
        self._paths = pa.chunked_array([paths for _, _, paths in found], pa.list_(pa.string()))
        self._order = np.argsort(self._ids, kind="stable")

    def __call__(self, row_ids: Sequence[int]) -> list[list[dict[str, str]]]:
        """{"source", "image_path"} of each row's images, as `Places.resolve` takes them; none for unknown rows."""
        found = np.searchsorted(self._ids, row_ids, sorter=self._order)
        places = [int(self._order[i]) if i < len(self._order) else -1 for i in found]
        return [
            [{"source": self._sources[at].as_py(), "image_path": path} for path in self._paths[at].as_py()]
            if at >= 0 and self._ids[at] == row_id
            else []
            for row_id, at in zip(row_ids, places, strict=True)
        ]


def _image_paths(table: Table) -> Iterator[tuple[np.ndarray, pa.Array, pa.Array]]:
    """Row ids, sources and lists of image paths of a table's kept rows."""
    rows = tables.open_table(table.folder)
    column = "image_path" if "image_path" in rows.schema.names else "images"
    for batch in rows.to_batches(["row_id", "source", column], filter=tables.select()):
        paths = batch.column(column)
        if column == "images":
            lists = pa.ListArray.from_arrays(_offsets(paths), pc.struct_field(paths.flatten(), "image_path"))
        else:
            lists = pa.ListArray.from_arrays(pa.array(range(len(batch) + 1), pa.int32()), paths)
        yield batch.column("row_id").to_numpy(), batch.column("source"), lists


def _offsets(lists: pa.Array) -> pa.Array:
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())


class _Embedding:
    """Adds the column of image files to a batch, which `datasets` decodes; `not_embedded` counts what has none."""

    def __init__(self, schema: pa.Schema, column: str, places: Places, documents: DocumentImages | None = None) -> None:
        try:
            import datasets
        except ImportError:
            raise InputError("embedding images needs datasets; install it with pip install 'mmgic[hub]'") from None
        self.column = column
        self.places = places
        self.documents = documents
        self.not_embedded: Counter[str] = Counter()
        kind = IMAGE_FILE if column == IMAGE else pa.list_(IMAGE_FILE)
        self.field = pa.field(column, kind)
        plain = schema.remove_metadata().append(self.field)
        features = datasets.Features.from_arrow_schema(plain)
        features[column] = datasets.Image() if column == IMAGE else datasets.List(datasets.Image())
        self.schema = plain.with_metadata(features.arrow_schema.metadata)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self.documents:
            shown = self.documents(batch.column("row_id").to_pylist())
            kept = batch.column("keep").to_pylist()
            pictures = [
                [self._file(self.places.resolve(image)["image_path"]) for image in images] if keep else []
                for images, keep in zip(shown, kept, strict=True)
            ]
            return batch.append_column(self.field, pa.array(pictures, self.field.type))
        columns = ["source", "keep", "image_path" if self.column == IMAGE else "images"]
        rows = [self.places.resolve(row) for row in batch.select(columns).to_pylist()]
        if self.column == IMAGE:
            files: list[Any] = [self._file(row["image_path"]) if row["keep"] else None for row in rows]
        else:
            files = [[self._file(i["image_path"]) if row["keep"] else None for i in row["images"]] for row in rows]
        return batch.append_column(self.field, pa.array(files, self.field.type))

    def _file(self, path: str) -> dict[str, Any] | None:
        try:
            return {"bytes": read_bytes(path, MAX_IMAGE_BYTES), "path": posixpath.basename(path)}
        except ImageError as error:
            self.not_embedded[error.reason] += 1
            return None


def _embedding(schema: pa.Schema, name: str, places: Places) -> _Embedding:
    if "image_path" in schema.names:
        return _Embedding(schema, IMAGE, places)
    if "images" in schema.names:
        return _Embedding(schema, IMAGES, places)
    if "input_ids" in schema.names:
        return _Embedding(schema, PICTURES, places, DocumentImages(places, name))
    raise InputError("this table names no images, so none can be embedded; export it without --images")
