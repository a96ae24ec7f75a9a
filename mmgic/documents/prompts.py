"""Evaluation prompts that are exact prefixes of the documents that a model was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from mmgic.documents.encode import encode_continuation, encode_parts, encode_texts, start_and_end
from mmgic.documents.pairs import pair_segments
from mmgic.documents.tasks import TEMPLATES, make_round
from mmgic.documents.template import ImageSlot, Segment, caption_prefix, image_part, one_line
from mmgic.errors import InputError
from mmgic.model.vocabulary import VLVocabulary
from mmgic.schema import Corpus, Part
from mmgic.sources.rows import annotated_image

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


# An image-first document of each pre-training corpus up to where a caption's own words start
CAPTION_PREFIXES: Mapping[Corpus, Sequence[Segment]] = {
    "mmgic": caption_prefix(),
    "ic": pair_segments(["Caption:"], "image_first"),
    "mmc4": [ImageSlot(0), "\n"],
}


def caption_prompt(
    tokenizer: PreTrainedTokenizerBase,
    vocabulary: VLVocabulary,
    codes: Sequence[int],
    form: Corpus = "mmgic",
    system_prompt: str = "",
) -> list[int]:
    """A document of the corpus `form` up to where the caption of an image with `codes` begins.

    `system_prompt` is as in `DocumentSettings`; instructions alone (`sft`) have one.
    """
    if form == "sft":
        return round_prompt(tokenizer, vocabulary, "image_caption", [codes], "", system_prompt)
    start, _ = start_and_end(tokenizer)
    return [*start, *encode_parts(tokenizer, vocabulary, [CAPTION_PREFIXES[form]], [codes])[0]]


def drawing_prompt(
    tokenizer: PreTrainedTokenizerBase, caption: str, form: Corpus = "mmgic", system_prompt: str = ""
) -> list[int]:
    """A document of the corpus `form` up to the image of a caption, without <s>, which not all models know."""
    if form == "sft":
        asked: Part = {"text": caption, "image": -1}
        made = make_round(TEMPLATES["text_to_image"], [asked], [{"text": "", "image": 0}], system_prompt)
        return list(chain(*encode_continuation(tokenizer, str(made.instruction[-1]), str(made.response[0]))))
    if form == "mmc4":
        return encode_texts(tokenizer, [one_line(caption)])[0]
    if form == "ic":
        before = pair_segments([f"Caption: {one_line(caption)}"], "text_first")
    else:
        before = image_part(annotated_image("", "", 0, caption=caption), "text_first", "C", None)
    return encode_texts(tokenizer, [str(before[0])])[0]


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
    asked: list[Part] = [{"text": question, "image": -1}] if question else []
    return make_round(TEMPLATES[task], [*shown, *asked], [], system_prompt).instruction
