"""Evaluation prompts that are exact prefixes of the documents that a model was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmgic.documents.encode import encode_continuation, encode_parts, encode_texts, start_and_end
from mmgic.documents.tasks import TEMPLATES, make_round
from mmgic.documents.template import Segment, caption_prefix, image_part, to_text
from mmgic.errors import InputError
from mmgic.model.vocabulary import VLVocabulary
from mmgic.schema import Part
from mmgic.sources.rows import annotated_image

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def caption_prompt(tokenizer: PreTrainedTokenizerBase, vocabulary: VLVocabulary, codes: Sequence[int]) -> list[int]:
    """An image-first document up to and including "Caption:"; the model goes on with the caption's line."""
    start, _ = start_and_end(tokenizer)
    return [*start, *encode_parts(tokenizer, vocabulary, [caption_prefix()], [codes])[0]]


def drawing_prompt(tokenizer: PreTrainedTokenizerBase, caption: str) -> list[int]:
    """The text-first document of a caption up to its image, without <s>, which not all models were trained with."""
    shown = annotated_image("", "", 0, caption=caption)
    return encode_texts(tokenizer, [to_text(image_part(shown, "text_first", "C", None)[:1])])[0]


def line_stop_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids that end an answer of one line, such as a caption: </s> and every token with a line break in it."""
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    breaks = [i for i, token in enumerate(tokens) if "\n" in tokenizer.convert_tokens_to_string([token])]
    return sorted({start_and_end(tokenizer)[1], *breaks})


def round_prompt(
    tokenizer: PreTrainedTokenizerBase,
    vocabulary: VLVocabulary,
    task: str,
    images: Sequence[Sequence[int]],
    question: str,
    system_prompt: str,
) -> list[int]:
    """The first round of a document of `task` (Table 16), up to and including [/INST].

    The images, given by their visual codes, stand before the question. `system_prompt` is as in `DocumentSettings`.
    """
    start, _ = start_and_end(tokenizer)
    asked = _instruction(task, len(images), question, system_prompt)
    return [*start, *encode_parts(tokenizer, vocabulary, [asked], images)[0]]


def option_ids(tokenizer: PreTrainedTokenizerBase, options: Sequence[str]) -> list[list[int]]:
    """The tokens that each option ("Yes", "No", "A") adds to a question prompt.

    Found as the tokens of prompt + option minus the tokens of the prompt, since "Yes" and " Yes" are different tokens.
    Raises InputError for options that are the same tokens: no probability could tell them apart.
    """
    end = str(_instruction("open_vqa", 1, "", "")[-1])
    ids = [encode_continuation(tokenizer, end, f" {option}")[1] for option in options]
    if alike := [option for option, own in zip(options, ids, strict=True) if not own or ids.count(own) > 1]:
        raise InputError(
            f"the options {', '.join(map(repr, alike))} are the same tokens for this model's tokenizer; "
            "use options that differ in it"
        )
    return ids


def _instruction(task: str, images: int, question: str, system_prompt: str) -> list[Segment]:
    shown: list[Part] = [{"text": "", "image": i} for i in range(images)]
    return make_round(TEMPLATES[task], [*shown, {"text": question, "image": -1}], [], system_prompt).instruction
