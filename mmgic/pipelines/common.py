"""What the pipelines of all corpora share: their sources, where the run's files lie, and who does the work."""

from __future__ import annotations

from collections.abc import Iterable

from mmgic.documents.playback import AESTHETIC, PLAYBACK
from mmgic.schema import Corpus
from mmgic.settings import Settings, SettingsError, SourceSettings
from mmgic.sources.formats import FORMATS
from mmgic.stages.stage import Resources
from mmgic.stages.tables import Table


def sources_of(settings: Settings, corpus: Corpus) -> tuple[SourceSettings, ...]:
    """The sources whose format belongs to `corpus`."""
    return tuple(source for source in settings.sources if FORMATS[source.format].corpus == corpus)


def check_source_names(sources: Iterable[SourceSettings]) -> None:
    """Raises SettingsError if there are no sources, or if two have one name."""
    names = [source.name for source in sources]
    if not names:
        raise SettingsError("there are no 'sources'; add one, such as {name: coco, format: coco, path: data/coco, ...}")
    for name in names:
        if not name or names.count(name) > 1:
            raise SettingsError(f"{names.count(name)} of the 'sources' are named '{name}'; give each its own name")


def corpora_of(settings: Settings) -> dict[str, Corpus]:
    """What a curriculum may call the documents that a build of these settings makes, and the form that each has."""
    formats = [(source, FORMATS[source.format]) for source in settings.sources]
    named: dict[str, Corpus] = {
        source.corpus or known.corpus: "ic" if known.pairs else known.corpus for source, known in formats
    }
    if "sft" in named.values():
        instructions = settings.instructions
        named |= {PLAYBACK: "sft"} if instructions.playback else {}
        named |= {AESTHETIC: "sft"} if instructions.aesthetic else {}
    return named


def captioned_anew(settings: Settings, corpus: Corpus) -> tuple[str, ...]:
    """The sources of `corpus` whose given captions are replaced by synthesized ones (4.2)."""
    if not settings.captions.synthesize or corpus in settings.captions.keep_given:
        return ()
    return tuple(source.name for source in sources_of(settings, corpus) if not FORMATS[source.format].detailed)


def data_resources(settings: Settings, rows_per_call: int = 100) -> Resources:
    """What a stage without a model works with."""
    cluster = settings.cluster
    return Resources(
        workers=cluster.data_workers,
        prepare_workers=cluster.data_workers,
        rows_per_block=cluster.rows_per_block,
        rows_per_call=rows_per_call,
        max_error_rate=cluster.max_error_rate,
    )


def model_resources(settings: Settings, rows_per_call: int) -> Resources:
    """What a stage works with whose workers hold a vision model each."""
    cluster = settings.cluster
    return Resources(
        workers=cluster.tokenizer_workers,
        gpus=cluster.tokenizer_gpus,
        prepare_workers=cluster.data_workers,
        rows_per_block=cluster.rows_per_block,
        rows_per_call=rows_per_call,
        max_error_rate=cluster.max_error_rate,
    )


def each_once(*tables: Table) -> list[Table]:
    """`tables` without repetition: a stage that was left out hands on the table that it was given."""
    return list({table.folder: table for table in tables}.values())
