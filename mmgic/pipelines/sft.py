"""Instruction data: annotations -> unique -> images -> tokens -> documents, and playback (Section 3.3, Appendix H).

Tables lie under `<output>/sft`. Two stages run only where there is work for them: `unique` where several sources hold
conversations that one may have copied from another, `images` where a source names its images by url.
"""

from __future__ import annotations

from functools import partial

from mmgic import schema
from mmgic.documents.rounds import MakeRounds
from mmgic.model.vocabulary import VLVocabulary
from mmgic.pipelines.common import (
    corpus_folder,
    read_annotations,
    run_documents,
    run_tokens,
    sources_of,
    stage,
    table_of,
)
from mmgic.pipelines.images import run_images
from mmgic.pipelines.playback import build_playback
from mmgic.settings import Settings
from mmgic.sources.copies import RejectCopies
from mmgic.sources.formats import FORMATS
from mmgic.sources.instructions.duplicates import Contents, contents
from mmgic.stages.passes import fold
from mmgic.stages.rows import EachRow
from mmgic.stages.tables import Manifest


def build_sft(settings: Settings, vocabulary: VLVocabulary) -> list[Manifest]:
    """Runs the stages of the instruction sources and returns their manifests, those of documents last."""
    stages = [read_annotations(settings, "sft")]
    sources = sources_of(settings, "sft")
    if sum(FORMATS[source.format].copied for source in sources) > 1:
        stages.append(_unique(settings, table_of(settings, stages[-1])))
    if any(FORMATS[source.format].by_url for source in sources):
        stages.append(run_images(settings, "sft", table_of(settings, stages[-1]), schema.INTERLEAVED))
    stages.append(run_tokens(settings, "sft", table_of(settings, stages[-1]), schema.INTERLEAVED))
    stages.append(run_documents(settings, "sft", vocabulary, table_of(settings, stages[-1]), MakeRounds))
    return [*stages, *build_playback(settings, vocabulary)]


def _unique(settings: Settings, table: str) -> Manifest:
    ranks = {s.name: i for i, s in enumerate(sources_of(settings, "sft")) if FORMATS[s.format].copied}

    def transform() -> EachRow:
        found: Contents = fold(table, partial(contents, sources=ranks), settings.cluster.data_workers)
        return EachRow(RejectCopies(found.duplicates(), "a source listed before has this conversation"))

    return stage(
        settings,
        name="sft/unique",
        table=table,
        output=f"{corpus_folder(settings, 'sft')}/unique",
        schema=schema.INTERLEAVED,
        settings={"order": list(ranks)},
        make_transform=transform,
    )
