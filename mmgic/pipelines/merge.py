"""The merging of IC's captions (G.3), a stage between any table of image-caption pairs and the next."""

from __future__ import annotations

import hashlib
from functools import partial

from mmgic import schema, tables
from mmgic.answers import AnswerFile
from mmgic.errors import InputError
from mmgic.language_model import LanguageModel, check_language_model
from mmgic.merge_captions import MergeCaptions, merge_prompt
from mmgic.pipelines.common import corpus_folder, stage
from mmgic.settings import LanguageModelSettings, Settings
from mmgic.tables import Manifest

PURPOSE = "captions"


def run_merge(settings: Settings, table: str) -> Manifest:
    """Makes `ic/merged` from `table` (CAPTIONED_IMAGE): detailed captions for the rows that lack one.

    Without a language model the stage is left out, and the manifest is that of `table`: the next stage reads the table
    `f"{output}/{manifest.stage}"` either way. One actor asks, with `language_model.concurrency` requests at once: its
    answers go to a cache of its machine. The key's environment variable must be set where the actor runs. Raises
    InputError where the table is not finished, or the server refuses or does not answer (what it said is kept).
    """
    model = settings.language_model
    if not model.base_url:
        manifest = tables.read_manifest(table)
        if manifest is None:
            raise InputError(f"{table} is not finished; run the stage that makes it first")
        print("ic/merged: left out, as language_model.base_url names no server to merge captions with", flush=True)
        return manifest
    check_language_model(model)
    wording = merge_prompt("", "")
    manifest = stage(
        settings,
        name="ic/merged",
        table=table,
        output=f"{corpus_folder(settings, 'ic')}/merged",
        schema=schema.CAPTIONED_IMAGE,
        settings={
            "model": model.model,
            "temperature": model.temperature,
            "max_tokens": model.max_tokens,
            "prompt": hashlib.sha256(f"{wording.system}\n{wording.user}".encode()).hexdigest(),
        },
        make_transform=partial(_make, model),
        actors=True,
        workers=1,
        rows_per_call=max(100, 4 * model.concurrency),  # a batch ends when its slowest request does
    )
    print(
        f"ic/merged: the model's answers so far: {AnswerFile(model.cache).usage(model, PURPOSE).summary()}", flush=True
    )
    return manifest


def _make(settings: LanguageModelSettings) -> MergeCaptions:
    return MergeCaptions(LanguageModel(settings, PURPOSE))
