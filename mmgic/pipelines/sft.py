"""Instruction data: annotations -> unique -> images -> tokens -> documents, and playback (Section 3.3, Appendix H).

Tables lie under `<output>/sft`. Two stages run only where there is work for them: `unique` where several sources hold
conversations that one may have copied from another, `images` where a source names its images by url.
"""

from __future__ import annotations

from functools import partial

from mmgic import schema
from mmgic.documents.rounds import MakeRounds
from mmgic.download import DownloadImages
from mmgic.model.vocabulary import VLVocabulary
from mmgic.pipelines.common import corpus_folder, document_inputs, read_annotations, run_tokens, sources_of, stage
from mmgic.pipelines.playback import build_playback
from mmgic.settings import Settings
from mmgic.sources.instructions.duplicates import CONVERSATIONS, Contents, RejectDuplicates, contents
from mmgic.stage import fold
from mmgic.tables import Manifest
from mmgic.transform import EachRow

_BY_URL = ("laion_gpt4v", "ocrvqa", "textcaps")


def build_sft(settings: Settings, vocabulary: VLVocabulary) -> list[Manifest]:
    """Runs the stages of the instruction sources and returns their manifests, those of documents last."""
    stages = [read_annotations(settings, "sft")]
    sources = sources_of(settings, "sft")
    if sum(source.format in CONVERSATIONS for source in sources) > 1:
        stages.append(_unique(settings, _table(settings, stages)))
    if any(source.format in _BY_URL for source in sources):
        stages.append(_images(settings, _table(settings, stages)))
    stages.append(run_tokens(settings, "sft", _table(settings, stages), schema.INTERLEAVED))
    stages.append(_documents(settings, vocabulary, _table(settings, stages)))
    return [*stages, *build_playback(settings, vocabulary)]


def _table(settings: Settings, stages: list[Manifest]) -> str:
    """The table that the last stage made."""
    return f"{corpus_folder(settings, 'sft')}/{stages[-1].stage.partition('/')[2]}"


def _unique(settings: Settings, table: str) -> Manifest:
    ranks = {s.name: i for i, s in enumerate(sources_of(settings, "sft")) if s.format in CONVERSATIONS}

    def transform() -> EachRow:
        found: Contents = fold(table, partial(contents, sources=ranks), settings.cluster.data_workers)
        return EachRow(RejectDuplicates(found.duplicates()))

    return stage(
        settings,
        name="sft/unique",
        table=table,
        output=f"{corpus_folder(settings, 'sft')}/unique",
        schema=schema.INTERLEAVED,
        settings={"order": list(ranks)},
        make_transform=transform,
    )


def _images(settings: Settings, table: str) -> Manifest:
    folder = f"{corpus_folder(settings, 'sft')}/images"
    return stage(
        settings,
        name="sft/images",
        table=table,
        output=folder,
        schema=schema.INTERLEAVED,
        settings={"max_bytes": settings.download.max_bytes},
        make_transform=partial(DownloadImages, settings.download, f"{folder}/shards"),
        rows_per_call=settings.download.images_per_shard,
    )


def _documents(settings: Settings, vocabulary: VLVocabulary, table: str) -> Manifest:
    corpora = {source.name: source.corpus or "sft" for source in sources_of(settings, "sft")}
    make = MakeRounds(settings.model.llm, vocabulary, settings.documents, corpora, settings.seed)
    return stage(
        settings,
        name="sft/documents",
        table=table,
        output=f"{corpus_folder(settings, 'sft')}/documents",
        schema=schema.DOCUMENT,
        settings={**document_inputs(settings, vocabulary), "corpora": corpora},
        make_transform=partial(EachRow, make, repeat=0),
    )
