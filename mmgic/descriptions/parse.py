"""What a language model's reply about a label comes to: a description, an invalid label, or nothing usable."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from mmgic.language_model.answers import Answer

Status = Literal["described", "invalid", "unusable", "rejected"]  # a reply is one of the first three
STATUSES: tuple[Status, ...] = get_args(Status)

MIN_WORDS, MAX_WORDS = 5, 120  # about 50 were asked for

_HEADING = re.compile(r"^(?:category |object |attribute |relationship )?(?:label )?description\s*:\s*", re.IGNORECASE)
_INVALID = re.compile(r"^invalid(?:\s*[.:;,!–—-]+\s*|$)", re.IGNORECASE)
_REFUSAL = re.compile(
    r"^(?:i(?:'m| am) (?:sorry|unable|not able)|sorry\b|i (?:cannot|can't|can not)\b|as an ai\b)", re.IGNORECASE
)
_WRAPPING = "\"'`*_ \n\t“”’‘"
_MARKS = _WRAPPING + "#=+-@"  # a list's or heading's mark; at the start of a cell a spreadsheet takes it for a formula


@dataclass(frozen=True)
class Reply:
    status: Status
    text: str  # the description, why the label is invalid, or why the reply is unusable


def parse_reply(answer: Answer, noisy: bool) -> Reply:
    """Reads the answer to a `label_prompt`, which allowed "Invalid." if `noisy`.

    White space becomes single spaces; quotes and a repeated "Description:" around the text go. Unusable is what is
    empty, cut off, refused or of the wrong length, and "Invalid." where it was not allowed.
    """
    if answer.problem:
        return Reply("unusable", answer.problem)
    text = answer.text.lstrip(_MARKS).rstrip(_WRAPPING)
    while (shorter := _HEADING.sub("", text).lstrip(_MARKS)) != text:
        text = shorter
    text = " ".join(text.replace("’", "'").split())
    words = len(text.split())
    if not text:
        return Reply("unusable", "empty")
    if is_refusal(text):
        return Reply("unusable", f"refused: {text[:200]}")
    if found := _INVALID.match(text):
        reason = text[found.end() :].lstrip(_MARKS) or "no reason given"
        return Reply("invalid", reason) if noisy else Reply("unusable", f"called invalid: {reason}")
    if words < MIN_WORDS:
        return Reply("unusable", f"only {words} words: {text}")
    if words > MAX_WORDS:
        return Reply("unusable", f"{words} words, more than {MAX_WORDS}")
    return Reply("described", text)


def is_refusal(text: str) -> bool:
    """Whether a model says that it will not or cannot answer."""
    return bool(_REFUSAL.match(text.replace("’", "'")))


def parse_edit(text: str) -> Reply:
    """What a person wrote in place of a reply: a description of any length, or "Invalid." and why."""
    if found := _INVALID.match(text):
        return Reply("invalid", text[found.end() :] or "no reason given")
    return Reply("described", text)
