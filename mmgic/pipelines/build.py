"""All corpora of a run, and the token store that training reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mmgic.documents.folders import document_tables
from mmgic.files import write_text
from mmgic.model.assemble import vocabulary_of
from mmgic.model.vocabulary import VLVocabulary
from mmgic.pipelines.common import check_source_names, sources_of
from mmgic.pipelines.ic import build_ic
from mmgic.pipelines.mmc4 import build_mmc4
from mmgic.pipelines.mmgic import build_mmgic
from mmgic.pipelines.places import places_of
from mmgic.pipelines.sft import build_sft
from mmgic.schema import Corpus
from mmgic.settings import Settings, SettingsError, to_yaml, with_absolute_paths
from mmgic.stages.tables import SETTINGS, Table
from mmgic.training.store import StoreManifest, build_store, store_folder

# In this order: instructions play back what the corpora before them hold
PIPELINES: dict[Corpus, Callable[[Settings, VLVocabulary], list[Table]]] = {
    "mmgic": build_mmgic,
    "ic": build_ic,
    "mmc4": build_mmc4,
    "sft": build_sft,
}


@dataclass(frozen=True)
class BuildReport:
    """What became of the sources' records, stage by stage, and the token store that training reads."""

    tables: tuple[Table, ...]
    store: StoreManifest
    store_folder: Path


def build(settings: Settings) -> BuildReport:
    """Builds everything that training reads. What is finished is left as it is; what was cut short goes on.

    Needs Ray, and prints a line of counts per stage. Raises SettingsError or InputError for settings, files or tables
    that cannot be used.
    """
    folder = store_folder(settings)
    tables = [table for corpus in _corpora(settings) for table in build_tables(settings, corpus)]
    documents = [table.folder for table in document_tables(tables, settings.documents)]
    join_tokens = settings.documents.max_tokens if settings.documents.join_pages else 0
    store = build_store(documents, folder, vocabulary_of(settings).size, join_tokens)
    print(f"store: {store.samples:,} samples of {store.tokens:,} tokens in {folder}", flush=True)
    return BuildReport(tuple(tables), store, folder)


def build_tables(settings: Settings, corpus: Corpus) -> list[Table]:
    """Builds the tables of one corpus. Raises like `build`, and SettingsError if the corpus has no sources."""
    check_corpus(settings, corpus)
    write_text(places_of(settings).folder(SETTINGS), to_yaml(with_absolute_paths(settings)))
    return PIPELINES[corpus](settings, vocabulary_of(settings))


def check_corpus(settings: Settings, corpus: Corpus | None) -> None:
    """Raises SettingsError if there are no usable sources, or none of the `corpus` if one is named."""
    check_source_names(settings.sources)
    if corpus and not sources_of(settings, corpus):
        raise SettingsError(f"none of the 'sources' belongs to {corpus}; add one, or build another corpus")


def _corpora(settings: Settings) -> list[Corpus]:
    check_source_names(settings.sources)
    return [corpus for corpus in PIPELINES if sources_of(settings, corpus)]
