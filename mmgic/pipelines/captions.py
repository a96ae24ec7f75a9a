"""Caption synthesis (F.4), a stage between any table of images and the next, of either corpus that has captions."""

from __future__ import annotations

import posixpath
from dataclasses import asdict
from functools import partial

import pyarrow as pa

from mmgic.files import file_digests
from mmgic.pipelines.common import captioned_anew, model_resources, sources_of
from mmgic.pipelines.places import places_of
from mmgic.schema import Corpus
from mmgic.settings import CaptionSettings, Settings, SettingsError
from mmgic.sources.formats import FORMATS
from mmgic.stages.run import run_stage
from mmgic.stages.stage import Stage
from mmgic.stages.tables import Table

BATCHES_PER_CALL = 8  # images without a caption are gathered from so many batches for the next round
# the first two are known by their weights; what the others say is told by the sources concerned
_NOT_COMPUTED = ("blip2", "clip", "synthesize", "keep_given", "merge")


def check_synthesis(captions: CaptionSettings) -> None:
    """Raises SettingsError if captions are to be synthesized and no model is named for it."""
    for setting in ("blip2", "clip") if captions.synthesize else ():
        if not getattr(captions, setting):
            raise SettingsError(
                f"captions.{setting} names no model, and images are to get captions (F.4); set it to the model's "
                "folder, or set captions.synthesize=false to do with the captions that came with the data"
            )


def run_captions(settings: Settings, corpus: Corpus, table: Table, output_schema: pa.Schema) -> Table:
    """Makes `<corpus>/captions` from `table`: captions in `caption` or `caption_coco`.

    They are for the rows that lack one, and for all rows of a corpus that `captions.keep_given` does not name; sources
    whose captions are detailed (JourneyDB) get none. Without `captions.synthesize` the stage is left out. Raises
    SettingsError if no model is named, and InputError if a model's folder cannot be used.
    """
    captions = settings.captions
    if not captions.synthesize:
        return table
    check_synthesis(captions)
    # here: the models' libraries take seconds to load, which no other stage should wait for
    from mmgic.captions.clip import check_clip
    from mmgic.captions.images import ReadImage
    from mmgic.captions.synthesis import SynthesizeCaptions
    from mmgic.model.pretrained import check_folder

    check_folder(captions.blip2, "blip-2", "captions.blip2")
    check_clip(captions.clip)
    column = "caption" if "caption" in output_schema.names else "caption_coco"
    anew = captioned_anew(settings, corpus)
    never = tuple(source.name for source in sources_of(settings, corpus) if FORMATS[source.format].detailed)
    weights = [
        posixpath.join(folder, files)
        for folder in (captions.blip2, captions.clip)
        for files in ("*.json", "*.txt", "*.safetensors")
    ]
    stage = Stage(
        f"{corpus}/captions",
        output_schema,
        partial(SynthesizeCaptions, captions, column, settings.seed, settings.cluster.tokenizer_gpus),
        settings={
            "captions": {key: value for key, value in asdict(captions).items() if key not in _NOT_COMPUTED},
            "anew": list(anew),
            "never": list(never),
            "weights": list(file_digests(weights).values()),
            "seed": settings.seed,
        },
        actors=True,
        prepare=ReadImage(captions, column, anew, never),
        resources=model_resources(settings, rows_per_call=BATCHES_PER_CALL * captions.images_per_batch),
    )
    return run_stage(stage, table, places_of(settings))
