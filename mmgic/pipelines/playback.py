"""What instruction tuning plays back of the pre-training corpora (H.1): `sft/playback` and `sft/aesthetic`.

Both read a finished tokens table and write a row for each of its kept rows; those outside the sample are set aside as
`not_sampled`. Which rows are drawn depends on the seed and their ids alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmgic import schema
from mmgic.documents.playback import MakeAesthetic, MakePlayback
from mmgic.model.vocabulary import VLVocabulary
from mmgic.pipelines.common import corpus_folder, document_inputs, file_digests, sources_of, stage
from mmgic.schema import Corpus
from mmgic.settings import Settings
from mmgic.sources.formats import FORMATS
from mmgic.stages import tables
from mmgic.stages.rows import EachRow
from mmgic.stages.sampling import RowSample, draw_sample, sample_key
from mmgic.stages.tables import Manifest


def build_playback(settings: Settings, vocabulary: VLVocabulary) -> list[Manifest]:
    """Makes the tables that the settings ask for and that have something to play back."""
    instructions = settings.instructions
    manifests = []
    if instructions.playback and (table := _finished(settings, "mmgic", "sft/playback")):
        manifests.append(_mmgic(settings, vocabulary, table))
    aesthetic = [source.name for source in sources_of(settings, "ic") if FORMATS[source.format].played_back]
    if instructions.aesthetic and aesthetic and (table := _finished(settings, "ic", "sft/aesthetic")):
        kept = [name for name in aesthetic if _kept(table, name)]
        manifests += [_aesthetic(settings, vocabulary, table, kept)] if kept else []
    return manifests


def _mmgic(settings: Settings, vocabulary: VLVocabulary, table: str) -> Manifest:
    size = settings.instructions.playback
    descriptions = list(file_digests([settings.descriptions]).values()) if settings.descriptions else []

    def transform() -> EachRow:
        sample = _sample("sft/playback", table, (), size, settings.seed)
        return EachRow(
            MakePlayback(
                settings.model.llm, settings.descriptions, vocabulary, settings.documents, sample, settings.seed
            ),
            repeat=0,
        )

    return stage(
        settings,
        name="sft/playback",
        table=table,
        output=f"{corpus_folder(settings, 'sft')}/playback",
        schema=schema.DOCUMENT,
        settings={**document_inputs(settings, vocabulary), "descriptions": descriptions, "samples": size},
        make_transform=transform,
    )


def _aesthetic(settings: Settings, vocabulary: VLVocabulary, table: str, sources: Sequence[str]) -> Manifest:
    size = settings.instructions.aesthetic

    def transform() -> EachRow:
        sample = _sample("sft/aesthetic", table, sources, size, settings.seed)
        make = MakeAesthetic(settings.model.llm, vocabulary, settings.documents, sample, settings.seed)
        return EachRow(make, repeat=0)

    return stage(
        settings,
        name="sft/aesthetic",
        table=table,
        output=f"{corpus_folder(settings, 'sft')}/aesthetic",
        schema=schema.DOCUMENT,
        settings={**document_inputs(settings, vocabulary), "samples": size},
        make_transform=transform,
        sources=tuple(sources),
    )


def _finished(settings: Settings, corpus: Corpus, name: str) -> str:
    """The tokens table of a corpus; "", and a line that says so, where there is none."""
    table = f"{corpus_folder(settings, corpus)}/tokens"
    if tables.read_manifest(table) is not None:
        return table
    print(f"{name}: left out, as {table} is not there to play back from", flush=True)
    return ""


def _kept(table: str, source: str) -> int:
    manifest = tables.read_manifest(table)
    return manifest.sources.get(source, {}).get("kept", 0) if manifest else 0


def _sample(name: str, table: str, sources: Sequence[str], size: int, seed: int) -> RowSample:
    batches = tables.open_table(table).to_batches(columns=["row_id"], filter=tables.select(sources))
    ids = (batch.column("row_id").to_numpy().astype(np.int64, copy=False) for batch in batches)
    sample = draw_sample(ids, size, sample_key(seed, name))
    if sample.size < size:
        print(f"{name}: {sample.rows:,} rows for a sample of {size:,}; all of them are taken", flush=True)
    return sample
