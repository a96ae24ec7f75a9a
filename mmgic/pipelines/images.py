"""The images stage: what a corpus names by url is fetched, once, into tar shards beside its table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from mmgic.download import DownloadImages
from mmgic.download.pairs import PairImages
from mmgic.download.shard import remove_orphans
from mmgic.pipelines.common import data_resources
from mmgic.pipelines.places import places_of
from mmgic.schema import Corpus
from mmgic.settings import CleaningSettings, Settings
from mmgic.stages.rows import Transform
from mmgic.stages.run import run_stage
from mmgic.stages.stage import Stage
from mmgic.stages.tables import Table, find_table, open_table


def run_images(settings: Settings, corpus: Corpus, table: Table, output_schema: pa.Schema) -> Table:
    """Makes `<corpus>/images` from `table` (CAPTIONED_IMAGE or INTERLEAVED), and shards in `<corpus>/shards`.

    A block is a shard: a run that is killed fetches again the shards that its workers were at. Images that are at hand
    are not asked for. Shards of batches that a kill cut short, or of a table that was deleted, are removed once the
    table is finished. Raises InputError if the network is down (see `DownloadImages`); what is fetched by then is
    kept.

    Image-caption pairs are also held to the size and aspect rules of F.2. Appendix G does not state them for IC: they
    are taken over because the tokenizer sees both corpora's images in one way, and `download.size_rules` leaves them
    out.
    """
    download, cleaning = settings.download, _size_rules(settings)
    rules = {key: getattr(cleaning, key) for key in ("min_short_side", "min_aspect", "max_aspect") if cleaning}
    places, name = places_of(settings), f"{corpus}/images"
    shards = places.folder(f"{corpus}/shards")
    done = find_table(places.folder(name))
    stage = Stage(
        name,
        output_schema,
        partial(_transform, settings, corpus, shards),
        settings={
            "max_bytes": download.max_bytes,
            "allow_private_addresses": download.allow_private_addresses,
            **(rules if corpus == "ic" else {}),
        },
        repeatable=False,
        resources=replace(
            data_resources(settings, rows_per_call=download.images_per_shard), rows_per_block=download.images_per_shard
        ),
    )
    images = run_stage(stage, table, places)
    if done is None:
        remove_orphans(shards, _image_paths(images))
    return images


def _image_paths(table: Table) -> Iterator[pa.Array]:
    """The `image_path`s of a table's rows, kept or not."""
    rows = open_table(table.folder)
    column = "images" if "images" in rows.schema.names else "image_path"
    for batch in rows.to_batches(columns=[column]):
        values = batch.column(0)
        yield pc.struct_field(pc.list_flatten(values), "image_path") if column == "images" else values


def _transform(settings: Settings, corpus: Corpus, shards: str) -> Transform:
    download = DownloadImages(settings.download, shards)
    return PairImages(download, _size_rules(settings)) if corpus == "ic" else download


def _size_rules(settings: Settings) -> CleaningSettings | None:
    return settings.cleaning if settings.download.size_rules else None
