"""Caption synthesis (F.4), a stage between any table of images and the next, of either corpus that has captions."""

from __future__ import annotations

import posixpath
from dataclasses import asdict
from functools import partial

import pyarrow as pa

from mmgic.files import file_digests
from mmgic.pipelines.common import model_resources
from mmgic.pipelines.places import places_of
from mmgic.schema import Corpus
from mmgic.settings import Settings
from mmgic.stages.run import run_stage
from mmgic.stages.stage import Stage
from mmgic.stages.tables import Table

BATCHES_PER_CALL = 8  # images without a caption are gathered from so many batches for the next round


def run_captions(settings: Settings, corpus: Corpus, table: Table, output_schema: pa.Schema) -> Table:
    """Makes `<corpus>/captions` from `table`: captions for the rows that lack one in `caption` or `caption_coco`.

    Without a BLIP-2 the stage is left out. Raises InputError if a model's folder cannot be used.
    """
    captions = settings.captions
    if not captions.blip2:
        print(f"{corpus}/captions: left out, as captions.blip2 names no model to write captions with", flush=True)
        return table
    # here: the models' libraries take seconds to load, which no other stage should wait for
    from mmgic.captions.images import ReadImage
    from mmgic.captions.synthesis import SynthesizeCaptions
    from mmgic.model.pretrained import check_folder

    check_folder(captions.blip2, "blip-2", "captions.blip2")
    check_folder(captions.clip, "clip", "captions.clip")
    column = "caption" if "caption" in output_schema.names else "caption_coco"
    weights = [
        posixpath.join(folder, files)
        for folder in (captions.blip2, captions.clip)
        for files in ("*.json", "*.txt", "*.safetensors")
    ]
    stage = Stage(
        f"{corpus}/captions",
        output_schema,
        partial(SynthesizeCaptions, captions, column, settings.seed),
        settings={
            "captions": {key: value for key, value in asdict(captions).items() if key not in ("blip2", "clip")},
            "weights": list(file_digests(weights).values()),
            "seed": settings.seed,
        },
        actors=True,
        prepare=ReadImage(captions, column),
        resources=model_resources(settings, rows_per_call=BATCHES_PER_CALL * captions.images_per_batch),
    )
    return run_stage(stage, table, places_of(settings))
