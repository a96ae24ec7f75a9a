"""All that a run needs, looked at before it starts."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path

from mmgic.checks import RUN, Work
from mmgic.checks.cluster import check_cluster
from mmgic.checks.evaluation import check_evaluation
from mmgic.checks.machine import check_output, check_temporary
from mmgic.checks.models import (
    check_caption_models,
    check_language_model,
    check_toy_weights,
    check_visual_tokenizer,
    check_words,
)
from mmgic.checks.problems import Findings
from mmgic.checks.sources import annotation_bytes, check_sources
from mmgic.checks.training import check_training, check_vision_training
from mmgic.errors import InputError
from mmgic.model.pretrained import weight_files
from mmgic.paths import is_local
from mmgic.pipelines.common import check_source_names, sources_of
from mmgic.pipelines.merge import check_merging
from mmgic.pipelines.places import places_of
from mmgic.schema import CORPORA, Corpus
from mmgic.settings import Settings
from mmgic.sources.formats import FORMATS
from mmgic.stages.tables import read_manifest

# of the bytes of annotations: what the tables that are made of them take, all stages together
TABLE_BYTES = 4


def check_run(settings: Settings, works: Collection[Work] = RUN) -> Findings:
    """What of `settings` would stop the `works`, and what was looked at. Takes seconds and starts nothing."""
    findings = Findings()
    check_temporary(findings)
    tables = bool({"tables", "data"} & set(works))
    if tables or "labels" in works:
        _check_data(settings, findings, labels_alone=not tables)
    if tables or {"training", "evaluation"} & set(works):
        check_visual_tokenizer(settings, findings)
    if tables or "training" in works:
        check_language_model(settings, findings, weights="training" in works)
    if "training" in works:
        check_training(settings, findings)
    if _world_is_there(settings):
        for work in ("tokenizer", "pixels"):
            if work in works:
                check_vision_training(settings, findings, work)
    if "evaluation" in works and _world_is_there(settings):
        check_evaluation(settings, findings)
    check_toy_weights(settings, findings)
    check_cluster(settings, findings, data=tables, training=bool({"training", "tokenizer", "pixels"} & set(works)))
    needed = _space(settings, works) + findings.fetched_bytes
    check_output(settings.output, findings, needed, tables_alone={"labels", "tables"}.issuperset(works))
    return findings


def _world_is_there(settings: Settings) -> bool:
    return not settings.toy.scenes or (Path(settings.output) / "world").is_dir()


def _check_data(settings: Settings, findings: Findings, labels_alone: bool) -> None:
    findings.attempt(lambda: check_source_names(settings.sources))
    corpora: tuple[Corpus, ...] = ("mmgic",) if labels_alone else CORPORA
    if _world_is_there(settings):
        for corpus in corpora:
            images = not labels_alone and not _has_tokens(settings, corpus, findings)
            check_sources(sources_of(settings, corpus), findings, images)
    else:
        findings.note(f"the toy world is not made yet; the job writes it to {settings.output}/world")
    if labels_alone:
        return
    if _world_is_there(settings):
        check_words(settings, findings, phrases=any(FORMATS[s.format].filtered_caption for s in settings.sources))
    if sources_of(settings, "mmgic") or sources_of(settings, "ic"):
        check_caption_models(settings, findings)
    if sources_of(settings, "ic"):
        findings.attempt(lambda: check_merging(settings))


def _has_tokens(settings: Settings, corpus: Corpus, findings: Findings) -> bool:
    """Whether the corpus's images are tokenized, and so needed no more."""
    if not is_local(settings.output):
        return False
    folder = places_of(settings).folder(f"{corpus}/tokens")
    return findings.attempt(lambda: read_manifest(folder)) is not None


def _space(settings: Settings, works: Collection[Work]) -> int:
    """Bytes that the run writes, about: tables, and the exported model with the trained part's checkpoints."""
    needed = 0
    if {"tables", "data"} & set(works):
        needed += TABLE_BYTES * sum(annotation_bytes(source) for source in settings.sources)
    if "training" in works:
        try:
            weights = sum(path.stat().st_size for path in weight_files(settings.model.llm))
        except (InputError, OSError):
            return needed  # said elsewhere
        # a checkpoint holds the trained parameters, under 8 % of all, and two moments, in float32
        needed += weights + int(0.08 * weights * 2 * 3) * (settings.training.keep_checkpoints + 1)
    return needed


def refuse_problems(settings: Settings, works: Collection[Work]) -> None:
    """Prints the warnings of `check_run`. Raises InputError with all of its problems, if there are any."""
    findings = check_run(settings, works)
    for warning in findings.warnings:
        print(f"warning: {warning}", file=sys.stderr, flush=True)
    findings.refuse("this run")
