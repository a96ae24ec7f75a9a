"""The folders of models that a run reads, and whether their sizes belong together. Of weights the headers alone."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from mmgic.checks.problems import Findings
from mmgic.errors import InputError
from mmgic.model.llama_config import load_llama_config
from mmgic.settings import Settings

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
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
    from mmgic.documents.encode import start_and_end
    from mmgic.training.export import load_text_tokenizer

    folder = settings.model.llm
    config = findings.attempt(lambda: load_llama_config(folder))
    if config is None:
        return
    tokenizer = findings.attempt(lambda: load_text_tokenizer(folder))
    if tokenizer is not None:
        findings.attempt(lambda: start_and_end(tokenizer))
        if len(tokenizer) > config.vocab_size:
            findings.problem(
                f"the tokenizer of {folder} has {len(tokenizer):,} tokens, more than the {config.vocab_size:,} of its "
                "model; fetch both from one place"
            )
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
    files = weight_files(folder)
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                if EMBEDDING in file.keys():  # noqa: SIM118 (a safe_open is no mapping)
                    shape = file.get_slice(EMBEDDING).get_shape()
                    if shape != [vocabulary, width]:
                        raise InputError(
                            f"{path} embeds {shape[0]:,} tokens in {shape[1]:,} numbers, its config.json says "
                            f"{vocabulary:,} and {width:,}; fetch both from one place"
                        )
        except (OSError, SafetensorError) as error:
            raise InputError(f"{path} is missing or cut short ({error}); fetch it again") from None


def weight_files(folder: str | Path) -> list[Path]:
    """The safetensors files of a Hugging Face model folder. Raises InputError if it names none."""
    folder = Path(folder)
    if (folder / INDEX).is_file():
        try:
            shards = set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError):
            raise InputError(f"{folder / INDEX} is no index of weights; fetch it again") from None
        return sorted(folder / shard for shard in shards)
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    raise InputError(f"{folder} holds no weights in safetensors ({WEIGHTS} or {INDEX}); pickled ones are not loaded")


def check_caption_models(settings: Settings, findings: Findings) -> None:
    """Adds what is wrong with BLIP-2 and CLIP, if captions are synthesized."""
    from mmgic.captions.folders import check_folder, image_processor, load_tokenizer

    captions = settings.captions
    if not captions.blip2:
        return
    for folder, kind, setting in (
        (captions.blip2, "blip-2", "captions.blip2"),
        (captions.clip, "clip", "captions.clip"),
    ):
        before = len(findings.problems)
        findings.attempt(lambda f=folder, k=kind, s=setting: check_folder(f, k, s))  # type: ignore[misc]
        if len(findings.problems) == before:
            findings.attempt(lambda f=folder, s=setting: load_tokenizer(f, s))  # type: ignore[misc]
            findings.attempt(lambda f=folder, s=setting: image_processor(f, s))  # type: ignore[misc]


def check_words(settings: Settings, findings: Findings, phrases: bool) -> None:
    """Adds what is wrong with the label descriptions, the names of senses, and the spaCy pipeline if `phrases`."""
    from mmgic.cleaning.senses import load_names
    from mmgic.descriptions.reading import load_descriptions

    if settings.descriptions:
        found = findings.attempt(lambda: load_descriptions(settings.descriptions))
        if found is not None:
            number = len(found.objects) + len(found.attributes) + len(found.relationships)
            findings.note(f"label descriptions {settings.descriptions}: {number:,} for all sources")
    elif "D" in settings.documents.recipe:
        findings.note("no 'descriptions' are set, so the documents go without them")
    if settings.labels.names:
        findings.attempt(lambda: load_names(settings.labels.names))
    if phrases:
        from mmgic.noun_phrases.extract import pipeline_files

        findings.attempt(lambda: pipeline_files(settings.phrases.pipeline))
