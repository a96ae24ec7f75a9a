"""The labels of a built dataset and their descriptions (F.5), under `<output>/mmgic/descriptions`.

descriptions.jsonl   what every label means (see `mmgic.descriptions.table`); made again by every run
review.tsv           what the model said, for a person to accept, edit or reject; only ever appended to
names.tsv            what the senses of polysemous labels are called, for a person too
usage.json           what the model's answers have cost
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from mmgic.cleaning.counting import objects_by_source
from mmgic.cleaning.labels import kept_labels
from mmgic.cleaning.senses import propose_names
from mmgic.descriptions.labels import Concept, Key, count_uses
from mmgic.descriptions.table import Entry, describe, write_table
from mmgic.descriptions.wordnet import WordNet
from mmgic.files import write_text
from mmgic.language_model.answers import Usage
from mmgic.language_model.client import LanguageModel
from mmgic.pipelines.annotations import read_annotations
from mmgic.pipelines.common import check_source_names, sources_of
from mmgic.pipelines.mmgic import run_cleaning
from mmgic.pipelines.places import places_of
from mmgic.settings import Settings, SettingsError
from mmgic.sources.formats import FORMATS, label_descriptions
from mmgic.stages.passes import fold
from mmgic.stages.progress import progress_line
from mmgic.stages.tables import Table

PURPOSE = "labels"
DESCRIPTIONS = "mmgic/descriptions"


@dataclass(frozen=True)
class LabelReport:
    """What became of the labels, where it was written, and what the model's answers have cost."""

    entries: list[Entry]
    descriptions: str
    review: str
    asked: int  # answers that the cache did not have
    failed: int  # requests that failed
    usage: Usage  # of all runs


def label_concepts(settings: Settings) -> list[Concept]:
    """The labels of the cleaned table, each once by source and kind; makes the table if it is missing. Needs Ray.

    Raises SettingsError if no source has labels, and InputError like the two stages.
    """
    cleaned = run_cleaning(settings, _read(settings))
    uses = fold(cleaned, count_uses, settings.cluster.data_workers)
    return uses.concepts(settings.labels.related)


def describe_labels(settings: Settings, concepts: list[Concept]) -> LabelReport:
    """Asks the language model for what it has not answered yet, and writes the descriptions. Needs no Ray.

    Labels that bring their own description are not asked for. Raises SettingsError if there are others and no
    language model is named; InputError if it refuses, does not answer, or if the review file cannot be read.
    """
    folder, given = places_of(settings).folder(DESCRIPTIONS), own_descriptions(settings)
    lacking = sum(concept.key not in given for concept in concepts)
    if lacking and not settings.language_model.base_url:
        raise SettingsError(
            f"{lacking:,} of the {len(concepts):,} labels bring no description along and no language model is named to "
            "ask for one; set language_model.base_url to an OpenAI-compatible server"
        )
    model = LanguageModel(settings.language_model, PURPOSE) if lacking else None
    before = model.usage().answers if model else 0
    arrived: list[int] = []
    with progress_line("descriptions", None, lambda: len(arrived)):
        entries = describe(
            concepts,
            model,
            f"{folder}/review.tsv",
            noisy=frozenset(s.name for s in sources_of(settings, "mmgic") if FORMATS[s.format].noisy_labels),
            given=given,
            define=_definitions(settings),
            progress=arrived.append,
        )
    usage = model.usage() if model else Usage(0, 0, 0, 0.0)
    write_table(f"{folder}/descriptions.jsonl", entries)
    write_text(
        f"{folder}/usage.json", json.dumps({"model": settings.language_model.model, **asdict(usage)}, indent=2) + "\n"
    )
    written = (f"{folder}/descriptions.jsonl", f"{folder}/review.tsv")
    return LabelReport(
        entries, *written, asked=usage.answers - before, failed=model.failed if model else 0, usage=usage
    )


def propose_sense_names(settings: Settings) -> tuple[str, int]:
    """Writes names for the senses of labels that cleaning keeps with several synsets to names.tsv.

    Reads the annotations first if that was not done yet. Needs Ray. Returns the file and the number of new rows.
    Raises InputError if WordNet is not at `labels.wordnet`.
    """
    wordnet, path = WordNet(settings.labels.wordnet), f"{places_of(settings).folder(DESCRIPTIONS)}/names.tsv"
    annotations = _read(settings)
    sources = {source.name: source for source in sources_of(settings, "mmgic")}
    count = partial(objects_by_source, sources=sources, cleaning=settings.cleaning)
    counts = fold(annotations, count, settings.cluster.data_workers)
    by_source = {name: counts.of(name) for name in sources}
    labels = {name: kept_labels(by_source[name], source, settings.cleaning) for name, source in sources.items()}
    return path, propose_names(path, by_source, labels, wordnet)


def own_descriptions(settings: Settings) -> dict[Key, str]:
    """(source, kind, label) -> description, of the sources that bring descriptions along (V3Det)."""
    rows = (row for source in sources_of(settings, "mmgic") for row in label_descriptions(source))
    return {(row["source"], "object", row["label"]): row["description"] for row in rows}


def _read(settings: Settings) -> Table:
    check_source_names(settings.sources)
    if not sources_of(settings, "mmgic"):
        raise SettingsError("none of the 'sources' is a detection dataset, so there are no labels to describe")
    return read_annotations(settings, "mmgic")


def _definitions(settings: Settings) -> Callable[[str], str]:
    """Synset -> its definition; nothing if WordNet is not installed, for they only help a reviewer."""
    folder = Path(settings.labels.wordnet)
    return WordNet(folder).definition if (folder / "data.noun").is_file() else lambda synset: ""
