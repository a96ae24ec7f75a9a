"""The images stage: what a corpus names by url is fetched, once, into tar shards beside its table."""

from __future__ import annotations

from functools import partial

import pyarrow as pa

from mmgic.download import DownloadImages
from mmgic.pair_images import PairImages
from mmgic.pipelines.common import corpus_folder, stage
from mmgic.settings import Settings
from mmgic.sources import Corpus
from mmgic.tables import Manifest
from mmgic.transform import Transform


def run_images(settings: Settings, corpus: Corpus, table: str, output_schema: pa.Schema) -> Manifest:
    """Makes `<corpus>/images` from `table` (CAPTIONED_IMAGE or INTERLEAVED), and shards in `<corpus>/shards`.

    A block is a shard: a run that is killed fetches again the shards that its workers were at. Image-caption pairs are
    also held to the size rules of cleaning. Images that are at hand are not asked for, so without a network a build
    only loses the others.
    """
    download, cleaning = settings.download, settings.cleaning
    rules = {key: getattr(cleaning, key) for key in ("min_short_side", "min_aspect", "max_aspect")}
    return stage(
        settings,
        name=f"{corpus}/images",
        table=table,
        output=f"{corpus_folder(settings, corpus)}/images",
        schema=output_schema,
        settings={
            "max_bytes": download.max_bytes,
            "allow_private_addresses": download.allow_private_addresses,
            **(rules if corpus == "ic" else {}),
        },
        make_transform=partial(_transform, settings, corpus),
        rows_per_block=download.images_per_shard,
        rows_per_call=download.images_per_shard,
    )


def _transform(settings: Settings, corpus: Corpus) -> Transform:
    download = DownloadImages(settings.download, f"{corpus_folder(settings, corpus)}/shards")
    return PairImages(download, settings.cleaning) if corpus == "ic" else download
