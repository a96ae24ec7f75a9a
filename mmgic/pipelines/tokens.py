"""The tokens stage of any corpus: images and regions become visual codes (F.6)."""

from __future__ import annotations

from functools import partial

import pyarrow as pa

from mmgic.files import file_digest
from mmgic.pipelines.common import model_resources
from mmgic.pipelines.places import places_of
from mmgic.schema import Corpus
from mmgic.settings import Settings
from mmgic.stages.run import run_stage
from mmgic.stages.stage import Stage
from mmgic.stages.tables import Table


def run_tokens(settings: Settings, corpus: Corpus, table: Table, schema: pa.Schema) -> Table:
    """Makes `<corpus>/tokens` from `table`, whose columns `schema` has, and codes."""
    # here: it takes seconds to load, which no other stage should wait for
    from mmgic.vision.folders import load_config, tokenizer_files
    from mmgic.vision.tokenize import TokenizeImages, load_frames

    vision = settings.vision
    stage = Stage(
        f"{corpus}/tokens",
        schema,
        partial(TokenizeImages, vision.checkpoint, vision, settings.seed, settings.cluster.tokenizer_gpus),
        settings={
            "selection": vision.selection,
            "dtype": vision.dtype,
            # products of another height, or in another order, may round in another way
            "batch_size": vision.batch_size,
            "compile": vision.compile,
            "checkpoint": [file_digest(str(path)) for path in tokenizer_files(vision.checkpoint)],
            "seed": settings.seed,
        },
        actors=True,
        prepare=partial(load_frames, size=load_config(vision.checkpoint).image_size),
        # the frames of a call fill whole batches, but for the last
        resources=model_resources(settings, rows_per_call=vision.batch_size),
    )
    return run_stage(stage, table, places_of(settings))
