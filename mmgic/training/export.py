"""A trained model as a Hugging Face folder that needs nothing beside it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from transformers import GenerationConfig, PreTrainedTokenizerBase

from mmgic.exported.card import model_card
from mmgic.exported.chat_template import chat_template
from mmgic.exported.processor import write_processor
from mmgic.exported.weights import write_weights
from mmgic.files import whole_folder
from mmgic.model.text_tokenizer import load_text_tokenizer
from mmgic.model.visual_tokens import with_visual_tokens
from mmgic.model.vl_llama import VLLlama
from mmgic.model.vocabulary import VOCABULARY_FILE
from mmgic.settings import Settings
from mmgic.training.checkpoints import load_parameters, load_progress
from mmgic.training.prompt_form import form_of_prompts
from mmgic.training.start import starting_model


def export_checkpoint(checkpoint: str | Path, settings: Settings, folder: str | Path) -> Path:
    """`export_model` of a training checkpoint, which belongs to a run with `settings`."""
    model = starting_model(settings, frozen=False)
    load_parameters(checkpoint, model.trained_parameters())
    steps = load_progress(checkpoint).step
    return export_model(model, settings, folder, f"{steps:,} steps of `{settings.training.curriculum}`")


def export_untrained(settings: Settings, folder: str | Path) -> Path:
    """`export_model` of the model that a run with `settings` starts from, the control of an evaluation."""
    return export_model(starting_model(settings, frozen=False), settings, folder, "none, this is where it starts")


def export_model(model: VLLlama, settings: Settings, folder: str | Path, trained: str) -> Path:
    """Writes a folder that Transformers and vLLM load with no code of ours; returns it.

    It holds a plain model of the language model's own class in safetensors, its generation_config, a tokenizer that
    knows the visual tokens, a chat template, the processor with the visual tokenizer, a card, which says what was
    `trained`, and vl_vocabulary.json {text_size, num_codes}. An existing `folder` is replaced once the new one is
    complete.
    """
    folder = Path(folder)
    tokenizer = with_visual_tokens(load_text_tokenizer(settings.model.llm), model.vocabulary)
    with whole_folder(folder) as unfinished:
        parameters = write_weights(model, unfinished)
        _generation_config(tokenizer).save_pretrained(unfinished)
        chats = chat_template(settings.documents.system_prompt)
        write_processor(tokenizer, chats, form_of_prompts(settings), settings.vision, unfinished)
        vocabulary = json.dumps(asdict(model.vocabulary), indent=2) + "\n"
        (unfinished / VOCABULARY_FILE).write_text(vocabulary, encoding="utf-8")
        card = model_card(settings, model.vocabulary, parameters, trained, unfinished)
        (unfinished / "README.md").write_text(card, encoding="utf-8")
    return folder


def _generation_config(tokenizer: PreTrainedTokenizerBase) -> GenerationConfig:
    """Greedy, until </s>."""
    end, padding = tokenizer.eos_token_id, tokenizer.pad_token_id
    return GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=end, pad_token_id=end if padding is None else padding
    )
