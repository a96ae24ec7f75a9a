"""The folders of models that a run reads, and whether their sizes belong together. Of weights the headers alone."""

from __future__ import annotations

from mmgic.checks.problems import Findings
from mmgic.model.llama_config import check_window, load_llama_config
from mmgic.model.text_tokenizer import load_text_tokenizer
from mmgic.pipelines.captions import check_synthesis
from mmgic.pipelines.common import sources_of
from mmgic.presets import TOY_WEIGHTS_SAY, is_toy
from mmgic.settings import Settings


def check_toy_weights(settings: Settings, findings: Findings) -> None:
    """Warns of weights that have seen the toy world alone and are to work on other data."""
    if settings.toy.scenes:
        return
    for name, folder in (
        ("vision.checkpoint", settings.vision.checkpoint),
        ("captions.blip2", settings.captions.blip2),
    ):
        if folder and is_toy(folder):
            findings.warn(f"{name} is {folder}: {TOY_WEIGHTS_SAY}")


def check_visual_tokenizer(settings: Settings, findings: Findings) -> None:
    """Adds what is wrong with `vision.checkpoint`."""
    from mmgic.vision.folders import check_tokenizer

    folder = settings.vision.checkpoint
    config = findings.attempt(lambda: check_tokenizer(folder))
    if config is not None:
        findings.note(f"visual tokenizer {folder}: {config.codebook_size:,} codes, {config.patches} patches")


def check_language_model(settings: Settings, findings: Findings, weights: bool) -> None:
    """Adds what is wrong with `model.llm`: its config and text tokenizer, and its weights if they will be read."""
    from mmgic.documents.encode import check_text_tokenizer
    from mmgic.model.pretrained import load_llama

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
    findings.attempt(lambda: check_window(config, longest))
    if weights:
        findings.attempt(lambda: load_llama(folder, "auto", device_map="meta"))
    findings.note(f"language model {folder}: {config.vocab_size:,} tokens, {config.max_position_embeddings} positions")


def check_caption_models(settings: Settings, findings: Findings) -> None:
    """Adds what is wrong with BLIP-2 and CLIP, if captions are synthesized."""
    from transformers import Blip2ForConditionalGeneration

    from mmgic.captions.clip import check_clip, clip_parts
    from mmgic.model.pretrained import check_folder, image_processor, load_model

    captions = settings.captions
    if not captions.synthesize:
        findings.note("captions.synthesize is false: images go on with the captions that came with the data")
        return
    before = len(findings.problems)
    findings.attempt(lambda: check_synthesis(captions))
    if len(findings.problems) > before:
        return
    folder, setting = captions.blip2, "captions.blip2"
    findings.attempt(lambda: check_folder(folder, "blip-2", setting))
    if len(findings.problems) == before:
        findings.attempt(lambda: load_text_tokenizer(folder, setting))
        findings.attempt(lambda: image_processor(folder, setting))
        findings.attempt(lambda: load_model(Blip2ForConditionalGeneration, folder, "auto", setting, device_map="meta"))
    before = len(findings.problems)
    findings.attempt(lambda: check_clip(captions.clip))
    if len(findings.problems) == before:
        for part in clip_parts(captions.clip):
            findings.attempt(part)


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
