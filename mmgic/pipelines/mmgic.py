"""MMGIC (Section 2): annotations -> cleaned -> sampled -> captions -> regions -> tokens -> documents/RECIPE/repeat_k.

Each stage writes a folder under `<output>/mmgic`, beside the settings that its rows depend on. Files that a stage reads
from outside are among these by their digests; image files are not, for they are many and large.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial

from mmgic import schema
from mmgic.cleaning.clean import clean_row
from mmgic.cleaning.counting import CountsBySource, objects_by_source, predicates_by_source
from mmgic.cleaning.labels import KeptLabels, kept_labels
from mmgic.cleaning.senses import check_names, load_names
from mmgic.files import file_digests
from mmgic.model.vocabulary import VLVocabulary
from mmgic.pipelines.annotations import read_annotations
from mmgic.pipelines.captions import run_captions
from mmgic.pipelines.common import data_resources, each_once, sources_of
from mmgic.pipelines.documents import description_inputs, run_multi_grained_documents
from mmgic.pipelines.places import places_of
from mmgic.pipelines.sample import run_sample
from mmgic.pipelines.tokens import run_tokens
from mmgic.regions import FindRegions
from mmgic.settings import Settings
from mmgic.stages.passes import fold
from mmgic.stages.rows import EachRow
from mmgic.stages.run import run_stage
from mmgic.stages.stage import Stage
from mmgic.stages.tables import Table


def build_mmgic(settings: Settings, vocabulary: VLVocabulary) -> list[Table]:
    """Runs the stages of the detection sources and returns their tables, those of documents last."""
    annotations = read_annotations(settings, "mmgic")
    cleaned = run_cleaning(settings, annotations)
    sampled = run_sample(settings, "mmgic", cleaned, schema.ANNOTATED_IMAGE)
    captioned = run_captions(settings, "mmgic", sampled, schema.ANNOTATED_IMAGE)
    regions = _run_regions(settings, captioned)
    tokens = run_tokens(settings, "mmgic", regions, schema.TOKENIZED_IMAGE)
    documents = run_multi_grained_documents(settings, vocabulary, tokens)
    return each_once(annotations, cleaned, sampled, captioned, regions, tokens, *documents)


def run_cleaning(settings: Settings, annotations: Table) -> Table:
    """Makes `mmgic/cleaned` from the annotations (F.2, all steps but the removal of invalid labels).

    Raises SettingsError if senses of labels are to be named and the settings do not say how.
    """
    check_names(settings.labels, sources_of(settings, "mmgic"))
    names = settings.labels.names
    stage = Stage(
        "mmgic/cleaned",
        schema.ANNOTATED_IMAGE,
        partial(_cleaning_transform, settings, annotations),
        settings={
            "cleaning": asdict(settings.cleaning),
            "min_label_count": {source.name: source.min_label_count for source in sources_of(settings, "mmgic")},
            "names": list(file_digests([names]).values()) if names else [],
        },
        resources=data_resources(settings),
    )
    return run_stage(stage, annotations, places_of(settings))


def _cleaning_transform(settings: Settings, annotations: Table) -> EachRow:
    """Counts labels over the whole table, then returns the cleaning of its rows (F.2)."""
    sources = {source.name: source for source in sources_of(settings, "mmgic")}
    cleaning, workers = settings.cleaning, settings.cluster.data_workers
    print("mmgic/cleaned: counting labels", flush=True)

    names = load_names(settings.labels.names) if settings.labels.names else {}

    def labels_of(counts: CountsBySource) -> Mapping[str, KeptLabels]:
        return {
            name: kept_labels(counts.of(name), source, cleaning, names.get(name)) for name, source in sources.items()
        }

    counts = fold(annotations, partial(objects_by_source, sources=sources, cleaning=cleaning), workers)
    count = partial(predicates_by_source, labels=labels_of(counts), sources=sources, cleaning=cleaning)
    counts += fold(annotations, count, workers)
    labels = labels_of(counts)
    return EachRow(partial(clean_row, labels=labels, cleaning=cleaning))


def _run_regions(settings: Settings, table: Table) -> Table:
    """Makes `mmgic/regions` from cleaned rows (F.3), and removes invalid labels (F.2 step 8)."""
    from mmgic.vision.folders import load_config

    patches = load_config(settings.vision.checkpoint).grid
    stage = Stage(
        "mmgic/regions",
        schema.IMAGE_WITH_REGIONS,
        lambda: EachRow(FindRegions(settings.regions, patches, settings.descriptions)),
        settings={"regions": asdict(settings.regions), "patches": patches, **description_inputs(settings)},
        resources=data_resources(settings),
    )
    return run_stage(stage, table, places_of(settings))
