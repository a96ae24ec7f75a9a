"""Instruction data: annotations -> unique -> images -> tokens -> documents, and playback (Section 3.3, Appendix H).

Tables lie under `<output>/sft`. Some stages run only if there is work for them: `unique` if the settings ask for it and
several sources hold conversations that one may have copied from another, `sampled` if a source sets a `sample`,
`images` if a source names its images by url.
"""

from __future__ import annotations

from functools import partial

from mmgic import schema
from mmgic.documents.rounds import MakeRounds
from mmgic.model.vocabulary import VLVocabulary
from mmgic.pipelines.annotations import read_annotations
from mmgic.pipelines.common import data_resources, each_once, sources_of
from mmgic.pipelines.documents import run_documents
from mmgic.pipelines.images import run_images
from mmgic.pipelines.places import places_of
from mmgic.pipelines.playback import build_playback
from mmgic.pipelines.sample import run_sample
from mmgic.pipelines.tokens import run_tokens
from mmgic.settings import Settings
from mmgic.sources.copies import RejectCopies
from mmgic.sources.formats import FORMATS
from mmgic.sources.instructions.duplicates import Contents, contents
from mmgic.stages.passes import fold
from mmgic.stages.rows import EachRow
from mmgic.stages.run import run_stage
from mmgic.stages.stage import Stage
from mmgic.stages.tables import Table


def build_sft(settings: Settings, vocabulary: VLVocabulary) -> list[Table]:
    """Runs the stages of the instruction sources and returns their tables, those of documents last."""
    annotations = read_annotations(settings, "sft")
    unique = _run_unique(settings, annotations)
    sampled = run_sample(settings, "sft", unique, schema.INTERLEAVED)
    images = _run_images(settings, sampled)
    tokens = run_tokens(settings, "sft", images, schema.INTERLEAVED)
    documents = run_documents(settings, "sft", vocabulary, tokens, MakeRounds)
    return each_once(annotations, unique, sampled, images, tokens, documents, *build_playback(settings, vocabulary))


def _run_unique(settings: Settings, table: Table) -> Table:
    ranks = {s.name: i for i, s in enumerate(sources_of(settings, "sft")) if FORMATS[s.format].copied}
    if not settings.instructions.unique or len(ranks) < 2:
        return table

    def transform() -> EachRow:
        found: Contents = fold(table, partial(contents, sources=ranks), settings.cluster.data_workers)
        return EachRow(RejectCopies(found.duplicates(), "a source listed before has this conversation"))

    stage = Stage(
        "sft/unique",
        schema.INTERLEAVED,
        transform,
        settings={"order": list(ranks)},
        resources=data_resources(settings),
    )
    return run_stage(stage, table, places_of(settings))


def _run_images(settings: Settings, table: Table) -> Table:
    by_url = any(FORMATS[source.format].by_url for source in sources_of(settings, "sft"))
    return run_images(settings, "sft", table, schema.INTERLEAVED) if by_url else table
