"""Caption synthesis (F.4), a stage between any table of images and the next, of either corpus that has captions."""

from __future__ import annotations

import posixpath
from dataclasses import asdict
from functools import partial

import pyarrow as pa

from mmgic.errors import InputError
from mmgic.pipelines.common import corpus_folder, file_digests, stage
from mmgic.schema import Corpus
from mmgic.settings import Settings
from mmgic.stages import tables
from mmgic.stages.tables import Manifest

BATCHES_PER_CALL = 8  # images without a caption are gathered from so many batches for the next round


def run_captions(settings: Settings, corpus: Corpus, table: str, output_schema: pa.Schema) -> Manifest:
    """Makes `<corpus>/captions` from `table`: captions for the rows that lack one in `caption` or `caption_coco`.

    Without a BLIP-2 the stage is left out, and the manifest is that of `table`: the next stage reads the table
    `f"{output}/{manifest.stage}"` either way. Raises InputError where the table is not finished or a model's folder
    cannot be used.
    """
    captions, cluster = settings.captions, settings.cluster
    if not captions.blip2:
        manifest = tables.read_manifest(table)
        if manifest is None:
            raise InputError(f"{table} is not finished; run the stage that makes it first")
        print(f"{corpus}/captions: left out, as captions.blip2 names no model to write captions with", flush=True)
        return manifest
    # here: the models' libraries take seconds to load, which no other stage should wait for
    from mmgic.captions.folders import check_folder
    from mmgic.captions.images import ReadImage
    from mmgic.captions.synthesis import SynthesizeCaptions

    check_folder(captions.blip2, "blip-2", "captions.blip2")
    check_folder(captions.clip, "clip", "captions.clip")
    column = "caption" if "caption" in output_schema.names else "caption_coco"
    weights = [
        posixpath.join(folder, files)
        for folder in (captions.blip2, captions.clip)
        for files in ("*.json", "*.txt", "*.safetensors")
    ]
    return stage(
        settings,
        name=f"{corpus}/captions",
        table=table,
        output=f"{corpus_folder(settings, corpus)}/captions",
        schema=output_schema,
        settings={
            "captions": {key: value for key, value in asdict(captions).items() if key not in ("blip2", "clip")},
            "weights": list(file_digests(weights).values()),
            "seed": settings.seed,
        },
        make_transform=partial(SynthesizeCaptions, captions, column, settings.seed),
        actors=True,
        prepare=ReadImage(captions, column),
        workers=cluster.tokenizer_workers,
        gpus=cluster.tokenizer_gpus,
        rows_per_call=BATCHES_PER_CALL * captions.images_per_batch,
    )
