"""Instruction documents of open-ended VQA (Appendix H, Table 16)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmgic.documents.encode import encode_continuation, encode_parts, start_and_end
from mmgic.documents.rows import kept_document, key_columns, rejected_document
from mmgic.documents.template import ImageSlot, Segment, one_line, to_text
from mmgic.model.vocabulary import VLVocabulary
from mmgic.settings import DocumentSettings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def opening(system_prompt: str) -> list[Segment]:
    """What stands before the first question: [INST], the system prompt (nothing where it is empty) and the image."""
    system = f"<<SYS>>\n{system_prompt}\n<</SYS>>\n\n" if system_prompt else ""
    return [f"[INST] {system}", ImageSlot(0)]


def instruction(question: str, *, first_round: bool) -> str:
    """From the question to [/INST]; what follows is the response. The first round's question follows the image."""
    lead = "\n" if first_round else "[INST] "
    return f"{lead}{one_line(question)}\nAnswer the question using a single word or phrase. [/INST]"


def response(answer: str) -> str:
    """The answer as a sentence's beginning: VQAv2 writes "yes", POPE's options are "Yes" and "No"."""
    line = one_line(answer)
    return f" {line[:1].upper()}{line[1:]}"


def build_question_document(
    row: Mapping[str, Any],
    *,
    tokenizer: PreTrainedTokenizerBase,
    vocabulary: VLVocabulary,
    settings: DocumentSettings,
    repeat: int,
    corpus: str,
) -> dict[str, Any]:
    """The `schema.DOCUMENT` row of a `schema.TOKENIZED_IMAGE` row with questions: one round for each, in their order.

    Each round stands between <s> and </s>; the first one carries the system prompt and the image. `answer_spans` holds
    [start, end) of each response with its </s>. A round that does not fit into `settings.max_tokens` is left out; where
    none fits the row is rejected as `too_long`. Table 16's space before </s> is taken as typography.
    """
    key = key_columns(row, repeat, corpus, "question")
    if len(row["codes"]) == 0:
        return rejected_document(key, "no_visual_tokens", "the image has no visual tokens")
    if len(row["questions"]) == 0:
        return rejected_document(key, "bad_record", "the image has no questions")

    start, end = start_and_end(tokenizer)
    segments = opening(settings.system_prompt)
    input_ids = [start, *encode_parts(tokenizer, vocabulary, [segments], [row["codes"]])[0]]
    rounds: list[str] = []
    spans: list[tuple[int, int]] = []
    for entry in row["questions"]:
        question, answer = instruction(entry["question"], first_round=not rounds), response(entry["answer"])
        question_ids, answer_ids = encode_continuation(tokenizer, question, answer)
        round_ids = [*([start] if rounds else []), *question_ids, *answer_ids, end]
        if len(input_ids) + len(round_ids) <= settings.max_tokens:
            input_ids += round_ids
            rounds.append(question + answer)
            spans.append((len(input_ids) - len(answer_ids) - 1, len(input_ids)))
    if not rounds:
        return rejected_document(key, "too_long", f"no question fits into {settings.max_tokens} tokens")
    return kept_document(
        key, vocabulary, text=to_text(segments) + "</s><s>".join(rounds), input_ids=input_ids, answer_spans=spans
    )
