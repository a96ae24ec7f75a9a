"""Instruction documents (Appendix H): each round between <s> and </s>, its response alone supervised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mmgic.documents.columns import kept_document, key_columns, rejected_document
from mmgic.documents.encode import encode_continuation, encode_parts, start_and_end
from mmgic.documents.tasks import DETAILED_CAPTION_INSTRUCTIONS, TEMPLATES, Round, TaskTemplate, make_round
from mmgic.documents.template import to_text
from mmgic.documents.writing import DocumentMaker, Writing
from mmgic.errors import InputError
from mmgic.schema import Document, Interleaved, Turns, UnfitDocument, add_drops, record_generator


@dataclass(frozen=True)
class MakeRounds(DocumentMaker[Interleaved]):
    """INTERLEAVED row of an instruction task -> DOCUMENT row."""

    used = ("max_tokens", "system_prompt")
    corpora: Mapping[str, str]  # source -> what a curriculum calls its documents

    def __call__(self, row: Interleaved) -> Document | UnfitDocument:
        return build_rounds_document(row, self.writing, corpus=self.corpora[row["source"]])


def build_rounds_document(row: Interleaved, writing: Writing, *, corpus: str) -> Document | UnfitDocument:
    """The `schema.DOCUMENT` row of a `schema.INTERLEAVED` row of an instruction task: its rounds in their order.

    The first round carries the system prompt. `answer_spans` holds [start, end) of each response with its </s>. A
    round that does not fit into `settings.max_tokens` is left out and counted, and so are the rounds after it where
    they may refer to it; a first round that is left out hands its images on. A row without any round that fits is
    rejected as `too_long`. Table 16's space before </s> is taken as typography.
    """
    key = key_columns(row, 0, corpus, row["task"])
    images = [image["codes"] for image in row["images"]]
    if not row["rounds"]:
        return rejected_document(key, "bad_record", "the record has no rounds")
    if not all(map(len, images)):
        return rejected_document(key, "no_visual_tokens", "an image has no visual tokens")

    template = _template(row, writing.seed)
    rounds, left_out = list(row["rounds"]), 0
    while rounds:
        made = [
            make_round(template, r["instruction"], r["response"], None if i else writing.settings.system_prompt)
            for i, r in enumerate(rounds)
        ]
        try:
            document = fit_rounds(made, images, writing, independent=template.independent)
        except InputError as error:  # one strange answer; a tokenizer that never fits sets all rows aside, and so stops
            return rejected_document(key, "bad_record", str(error))
        if document is not None:
            drops = ["round_too_long"] * (left_out + len(made) - len(document["answer_spans"]))
            return kept_document({**key, "drops": add_drops(row["drops"], drops)}, writing.vocabulary, **document)
        left_out += 1
        rounds = [_with_images_of(rounds[0], rounds[1]), *rounds[2:]] if template.independent and rounds[1:] else []
    return rejected_document(key, "too_long", f"no round fits into {writing.settings.max_tokens} tokens")


def _template(row: Interleaved, seed: int) -> TaskTemplate:
    template = TEMPLATES[row["task"]]
    if row["task"] != "detailed_caption":
        return template
    generator = record_generator(seed, "documents", row["source"], row["image_id"])
    drawn = DETAILED_CAPTION_INSTRUCTIONS[int(generator.integers(len(DETAILED_CAPTION_INSTRUCTIONS)))]
    return replace(template, after=drawn)


def _with_images_of(first: Turns, second: Turns) -> Turns:
    images = [part for part in first["instruction"] if part["image"] >= 0]
    return {**second, "instruction": [*images, *second["instruction"]]}


def fit_rounds(
    rounds: Sequence[Round], images: Sequence[Sequence[int]], writing: Writing, *, independent: bool
) -> dict[str, Any] | None:
    """{"text", "input_ids", "answer_spans"} of the rounds that fit, or None where the first does not.

    A response's first words are tokenized with the end of its instruction, so that a prompt is a prefix of the ids.
    Where the rounds are not `independent`, the first one that does not fit is the last one looked at.
    """
    start, end = start_and_end(writing.tokenizer)
    input_ids: list[int] = []
    texts: list[str] = []
    spans: list[tuple[int, int]] = []
    for made, (instruction_ids, response_ids) in zip(rounds, _encode(rounds, images, writing), strict=True):
        round_ids = [*start, *instruction_ids, *response_ids, end]
        if len(input_ids) + len(round_ids) <= writing.settings.max_tokens:
            input_ids += round_ids
            texts.append(to_text([*made.instruction, *made.response]))
            spans.append((len(input_ids) - len(response_ids) - 1, len(input_ids)))
        elif not texts:
            return None
        elif not independent:
            break
    return {"text": "</s><s>".join(texts), "input_ids": input_ids, "answer_spans": spans}


def _encode(
    rounds: Sequence[Round], images: Sequence[Sequence[int]], writing: Writing
) -> list[tuple[list[int], list[int]]]:
    """The ids of each round's instruction and response."""
    parts = [part for r in rounds for part in (r.instruction[:-1], _after_first_words(r))]
    encoded = iter(encode_parts(writing.tokenizer, writing.vocabulary, parts, images))
    result = []
    for made in rounds:
        before, rest = next(encoded), next(encoded)
        ask_ids, word_ids = encode_continuation(writing.tokenizer, str(made.instruction[-1]), _first_words(made))
        result.append(([*before, *ask_ids], [*word_ids, *rest]))
    return result


def _first_words(made: Round) -> str:
    first = made.response[0] if made.response else ""
    return first if isinstance(first, str) else ""


def _after_first_words(made: Round) -> list[Any]:
    return made.response[1:] if _first_words(made) else made.response
