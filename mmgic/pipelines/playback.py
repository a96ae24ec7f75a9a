"""What instruction tuning plays back of the pre-training corpora (H.1): `sft/playback` and `sft/aesthetic`.

Both read a finished tokens table and write a row for each of its kept rows; those outside the sample are set aside as
`not_sampled`. Which rows are drawn depends on the seed and their ids alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmgic import schema
from mmgic.documents.folders import documents_folder
from mmgic.documents.playback import MakeAesthetic, MakePlayback
from mmgic.model.vocabulary import VLVocabulary
from mmgic.pipelines.common import data_resources, sources_of
from mmgic.pipelines.documents import description_inputs, document_inputs
from mmgic.pipelines.places import places_of
from mmgic.pipelines.sample import row_sample
from mmgic.schema import Corpus
from mmgic.settings import Settings
from mmgic.sources.formats import FORMATS
from mmgic.stages.rows import EachRow
from mmgic.stages.run import run_stage
from mmgic.stages.stage import Stage
from mmgic.stages.tables import Table, find_table


def build_playback(settings: Settings, vocabulary: VLVocabulary) -> list[Table]:
    """Makes the tables that the settings ask for and that have something to play back."""
    instructions = settings.instructions
    made = []
    if instructions.playback and (table := _finished(settings, "mmgic", "sft/playback")):
        made.append(_mmgic(settings, vocabulary, table))
    aesthetic = [source.name for source in sources_of(settings, "ic") if FORMATS[source.format].played_back]
    if instructions.aesthetic and aesthetic and (table := _finished(settings, "ic", "sft/aesthetic")):
        kept = [name for name in aesthetic if table.manifest.sources.get(name, {}).get("kept")]
        made += [_aesthetic(settings, vocabulary, table, kept)] if kept else []
    return made


def _mmgic(settings: Settings, vocabulary: VLVocabulary, table: Table) -> Table:
    size = settings.instructions.playback

    def transform() -> EachRow:
        sample = row_sample("sft/playback", table, (), size, settings.seed)
        return EachRow(
            MakePlayback.of(settings, vocabulary, descriptions=settings.descriptions, sample=sample), repeat=0
        )

    stage = Stage(
        documents_folder("sft/playback", settings.documents, of_recipe=True),
        schema.DOCUMENT,
        transform,
        settings={
            **document_inputs(settings, vocabulary, MakePlayback),
            **description_inputs(settings),
            "samples": size,
        },
        resources=data_resources(settings),
    )
    return run_stage(stage, table, places_of(settings))


def _aesthetic(settings: Settings, vocabulary: VLVocabulary, table: Table, sources: Sequence[str]) -> Table:
    size = settings.instructions.aesthetic

    def transform() -> EachRow:
        sample = row_sample("sft/aesthetic", table, sources, size, settings.seed)
        make = MakeAesthetic.of(settings, vocabulary, sample=sample)
        return EachRow(make, repeat=0)

    stage = Stage(
        documents_folder("sft/aesthetic", settings.documents),
        schema.DOCUMENT,
        transform,
        settings={**document_inputs(settings, vocabulary, MakeAesthetic), "samples": size},
        sources=tuple(sources),
        resources=data_resources(settings),
    )
    return run_stage(stage, table, places_of(settings))


def _finished(settings: Settings, corpus: Corpus, name: str) -> Table | None:
    """The tokens table of a corpus; None, and a line that says so, if it is not there."""
    folder = places_of(settings).folder(f"{corpus}/tokens")
    table = find_table(folder)
    if table is None:
        print(f"{name}: left out, as {folder} is not there to play back from", flush=True)
    return table
