"""The merging of IC's captions (G.3), a stage between any table of image-caption pairs and the next."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING

from mmgic import schema
from mmgic.files import read_text, write_text
from mmgic.language_model.answers import Usage
from mmgic.pipelines.common import data_resources
from mmgic.pipelines.places import places_of
from mmgic.settings import LanguageModelSettings, Settings
from mmgic.stages.run import run_stage
from mmgic.stages.stage import Stage
from mmgic.stages.tables import Table

if TYPE_CHECKING:
    from mmgic.captions.merging import MergeCaptions

PURPOSE = "captions"
USAGE = "usage.json"


def run_merge(settings: Settings, table: Table) -> Table:
    """Makes `ic/merged` from `table` (CAPTIONED_IMAGE): detailed captions for the rows that lack one.

    Without a language model the stage is left out. One actor asks, with `language_model.concurrency` requests at once:
    its answers go to a cache of its machine, and what they have cost to `usage.json` beside the rows. The key's
    environment variable must be set where the actor runs. Raises InputError if the server refuses, does not answer
    or fails too often (what it said is kept).
    """
    model = settings.language_model
    if not model.base_url:
        print("ic/merged: left out, as language_model.base_url names no server to merge captions with", flush=True)
        return table
    from mmgic.captions.merging import merge_prompt
    from mmgic.language_model.client import check_language_model

    check_language_model(model)
    wording = merge_prompt("", "")
    places, name = places_of(settings), "ic/merged"
    usage_file = f"{places.folder(name)}/{USAGE}"
    stage = Stage(
        name,
        schema.CAPTIONED_IMAGE,
        partial(_make, model, settings.cluster.max_error_rate, usage_file),
        settings={
            "model": model.model,
            "temperature": model.temperature,
            "max_tokens": model.max_tokens,
            "prompt": hashlib.sha256(f"{wording.system}\n{wording.user}".encode()).hexdigest(),
        },
        actors=True,
        repeatable=False,
        # a batch ends when its slowest request does
        resources=replace(data_resources(settings, rows_per_call=max(100, 4 * model.concurrency)), workers=1),
    )
    merged = run_stage(stage, table, places)
    if (used := read_text(usage_file)) is not None:
        print(f"ic/merged: all answers in the cache of the actor: {Usage(**json.loads(used)).summary()}", flush=True)
    return merged


def _make(settings: LanguageModelSettings, max_error_rate: float, usage_file: str) -> MergeCaptions:
    from mmgic.captions.merging import MergeCaptions
    from mmgic.language_model.client import LanguageModel

    def report(usage: Usage) -> None:
        write_text(usage_file, json.dumps(asdict(usage)))

    return MergeCaptions(LanguageModel(settings, PURPOSE), max_error_rate, report)
