"""The merging of IC's captions (G.3), a stage between any table of image-caption pairs and the next."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING

from mmgic import schema
from mmgic.files import find_files, read_mapping, write_text
from mmgic.language_model.answers import Usage, sum_usage
from mmgic.pipelines.common import captioned_anew, data_resources
from mmgic.pipelines.places import places_of
from mmgic.settings import LanguageModelSettings, Settings, SettingsError
from mmgic.stages.run import run_stage
from mmgic.stages.stage import Stage
from mmgic.stages.tables import Table

if TYPE_CHECKING:
    from mmgic.captions.merging import MergeCaptions

PURPOSE = "captions"
USAGE = "usage"


def run_merge(settings: Settings, table: Table) -> Table:
    """Makes `ic/merged` from `table` (CAPTIONED_IMAGE): detailed captions for the rows that lack one, and for those
    whose short caption is a new one.

    Without `captions.merge` the stage is left out. Each of a pool of actors asks, with `language_model.concurrency`
    requests at once: the answers go to a cache of its machine, which the machine's actors share, and what they have
    cost to a file of the machine in `usage/` beside the rows. The key's environment variable must be set where the
    actors run. Raises SettingsError if no language model is named, and InputError if the server refuses, does not
    answer or fails too often (what it said is kept).
    """
    if not settings.captions.merge:
        return table
    check_merging(settings)
    from mmgic.captions.merging import merge_prompt

    model, workers = settings.language_model, settings.cluster.language_model_workers
    if limit := model.requests_per_minute:
        workers = min(workers, limit)
        model = replace(model, requests_per_minute=limit // workers)
    anew = captioned_anew(settings, "ic")
    wording = merge_prompt("", "")
    places, name = places_of(settings), "ic/merged"
    usage_folder = f"{places.folder(name)}/{USAGE}"
    stage = Stage(
        name,
        schema.CAPTIONED_IMAGE,
        partial(_make, model, settings.cluster.max_error_rate, anew, usage_folder),
        settings={
            "model": model.model,
            "temperature": model.temperature,
            "max_tokens": model.max_tokens,
            "anew": list(anew),
            "prompt": hashlib.sha256(f"{wording.system}\n{wording.user}".encode()).hexdigest(),
        },
        actors=True,
        repeatable=False,
        # a batch ends when its slowest request does
        resources=replace(data_resources(settings, rows_per_call=max(100, 4 * model.concurrency)), workers=workers),
    )
    merged = run_stage(stage, table, places)
    advice = f"delete {places.folder(name)} to merge anew; answers that are cached are not paid for again"
    used = [Usage(**(read_mapping(path, advice) or {})) for path in find_files(f"{usage_folder}/*.json")]
    if used:
        print(f"ic/merged: all answers in the actors' caches: {sum_usage(used).summary()}", flush=True)
    return merged


def check_merging(settings: Settings) -> None:
    """Raises SettingsError if captions are to be merged and no language model is named for it."""
    from mmgic.language_model.client import check_server

    if settings.captions.merge and not settings.language_model.base_url:
        raise SettingsError(
            "language_model.base_url names no server, and IC's captions are to be merged (G.3); set it to an "
            "OpenAI-compatible server, or set captions.merge=false to do without detailed captions of your own"
        )
    if settings.captions.merge:
        check_server(settings.language_model)


def _make(
    settings: LanguageModelSettings, max_error_rate: float, anew: Sequence[str], usage_folder: str
) -> MergeCaptions:
    from mmgic.captions.merging import MergeCaptions
    from mmgic.language_model.client import LanguageModel

    def report(usage: Usage) -> None:
        write_text(f"{usage_folder}/{socket.gethostname()}.json", json.dumps(asdict(usage)))

    return MergeCaptions(LanguageModel(settings, PURPOSE), max_error_rate, anew, report)
