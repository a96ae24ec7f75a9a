"""Instruction data: annotations -> tokens -> documents (Section 3.3, Appendix H). Tables lie under `<output>/sft`."""

from __future__ import annotations

from functools import partial

from mmgic import schema
from mmgic.documents.rounds import MakeRounds
from mmgic.model.vocabulary import VLVocabulary
from mmgic.pipelines.common import corpus_folder, document_inputs, read_annotations, run_tokens, sources_of, stage
from mmgic.settings import Settings
from mmgic.tables import Manifest
from mmgic.transform import EachRow


def build_sft(settings: Settings, vocabulary: VLVocabulary) -> list[Manifest]:
    """Runs the stages of the instruction sources and returns their manifests; the documents' table is the last one."""
    folder = corpus_folder(settings, "sft")
    annotations = read_annotations(settings, "sft")
    tokens = run_tokens(settings, "sft", f"{folder}/annotations", schema.INTERLEAVED)
    corpora = {source.name: source.corpus or "sft" for source in sources_of(settings, "sft")}
    documents = stage(
        settings,
        name="sft/documents",
        table=f"{folder}/tokens",
        output=f"{folder}/documents",
        schema=schema.DOCUMENT,
        settings={**document_inputs(settings, vocabulary), "corpora": corpora},
        make_transform=partial(
            EachRow, MakeRounds(settings.model.llm, vocabulary, settings.documents, corpora, settings.seed), repeat=0
        ),
    )
    return [annotations, tokens, documents]
