"""The folders of models that a run reads, and whether their sizes belong together. Of weights the headers alone."""

from __future__ import annotations

from pathlib import Path

from mmgic.checks.problems import Findings
from mmgic.errors import InputError
from mmgic.model.llama_config import load_llama_config
from mmgic.model.pretrained import weight_files
from mmgic.model.text_tokenizer import load_text_tokenizer
from mmgic.pipelines.captions import check_synthesis
from mmgic.pipelines.common import sources_of
from mmgic.settings import Settings

EMBEDDING = "model.embed_tokens.weight"


def check_visual_tokenizer(settings: Settings, findings: Findings) -> None:
    """Adds what is wrong with `vision.checkpoint`."""
    from mmgic.vision.folders import load_config, read_codebook, tokenizer_files

    folder = settings.vision.checkpoint
    if not folder:
        findings.problem("no visual tokenizer is given; set vision.checkpoint to its folder")
        return
    if findings.attempt(lambda: tokenizer_files(folder)) is None:
        return
    config, codebook = findings.attempt(lambda: load_config(folder)), findings.attempt(lambda: read_codebook(folder))
    if config is not None and codebook is not None:
        if tuple(codebook.shape) != (config.codebook_size, config.codebook_dim):
            findings.problem(
                f"the codebook of {folder} is {list(codebook.shape)}, its config says "
                f"{[config.codebook_size, config.codebook_dim]}; fetch the tokenizer again"
            )
        else:
            findings.note(f"visual tokenizer {folder}: {config.codebook_size:,} codes, {config.patches} patches")


def check_language_model(settings: Settings, findings: Findings, weights: bool) -> None:
    """Adds what is wrong with `model.llm`: its config and text tokenizer, and its weights if they will be read."""
    from mmgic.documents.encode import check_text_tokenizer

    folder = settings.model.llm
    config = findings.attempt(lambda: load_llama_config(folder))
    if config is None:
        return
    tokenizer = findings.attempt(lambda: load_text_tokenizer(folder))
    if tokenizer is not None:
        findings.attempt(lambda: check_text_tokenizer(tokenizer, config.vocab_size))
    longest = settings.documents.max_tokens
    if longest > config.max_position_embeddings:
        findings.problem(
            f"documents.max_tokens is {longest}, but {folder} has {config.max_position_embeddings} positions; lower it"
        )
    if weights:
        findings.attempt(lambda: check_llama_weights(folder, config.vocab_size, config.hidden_size))
    findings.note(f"language model {folder}: {config.vocab_size:,} tokens, {config.max_position_embeddings} positions")


def check_llama_weights(folder: str | Path, vocabulary: int, width: int) -> None:
    """Raises InputError if a weights file is missing or unreadable, or if the embedding is of another size."""
    from mmgic.vision.folders import read_weights

    for path in weight_files(folder):
        try:
            weights = read_weights(path)
        except InputError:
            raise InputError(f"{path} is missing or cut short; fetch it again") from None
        shape = list(weights[EMBEDDING].shape) if EMBEDDING in weights else [vocabulary, width]
        if shape != [vocabulary, width]:
            raise InputError(
                f"{path} embeds {shape[0]:,} tokens in {shape[1]:,} numbers, its config.json says "
                f"{vocabulary:,} and {width:,}; fetch both from one place"
            )


def check_caption_models(settings: Settings, findings: Findings) -> None:
    """Adds what is wrong with BLIP-2 and CLIP, if captions are synthesized."""
    from mmgic.model.pretrained import check_folder, image_processor

    captions = settings.captions
    if not captions.synthesize:
        findings.note("captions.synthesize is false: images go on with the captions that came with the data")
        return
    before = len(findings.problems)
    findings.attempt(lambda: check_synthesis(captions))
    if len(findings.problems) > before:
        return
    for folder, kind, setting in (
        (captions.blip2, "blip-2", "captions.blip2"),
        (captions.clip, "clip", "captions.clip"),
    ):
        before = len(findings.problems)
        findings.attempt(lambda f=folder, k=kind, s=setting: check_folder(f, k, s))  # type: ignore[misc]
        if len(findings.problems) == before:
            findings.attempt(lambda f=folder, s=setting: load_text_tokenizer(f, s))  # type: ignore[misc]
            findings.attempt(lambda f=folder, s=setting: image_processor(f, s))  # type: ignore[misc]


def check_words(settings: Settings, findings: Findings, phrases: bool) -> None:
    """Adds what is wrong with the label descriptions, the names of senses, and the spaCy pipeline if `phrases`."""
    from mmgic.cleaning.senses import check_names, load_names
    from mmgic.descriptions.reading import load_descriptions

    if settings.descriptions:
        found = findings.attempt(lambda: load_descriptions(settings.descriptions))
        if found is not None:
            number = len(found.objects) + len(found.attributes) + len(found.relationships)
            findings.note(f"label descriptions {settings.descriptions}: {number:,} for all sources")
    elif "D" in settings.documents.recipe:
        findings.note("no 'descriptions' are set, so the documents go without them")
    detection = sources_of(settings, "mmgic")
    findings.attempt(lambda: check_names(settings.labels, detection))
    if settings.labels.names:
        findings.attempt(lambda: load_names(settings.labels.names))
    if phrases:
        from mmgic.noun_phrases.extract import pipeline_files

        findings.attempt(lambda: pipeline_files(settings.phrases.pipeline))
