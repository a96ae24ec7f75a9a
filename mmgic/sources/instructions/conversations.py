"""Conversations as rounds: who speaks, where the images stand, and which task a round's format prompt asks for."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mmgic.schema import Part
from mmgic.sources.reading.files import text_id
from mmgic.sources.rows import image_part, text_part

Turn = tuple[str, str]  # question, answer

_ASKS = frozenset({"human", "user"})
_ANSWERS = frozenset({"gpt", "assistant", "chatgpt", "bing", "bard", "model", "claude", "palm"})
_IMAGE = re.compile(r"<\s*image\s*>", re.IGNORECASE)
# Conversations mark an image or another medium on a line of its own, or where a message begins or ends. Anything else,
# or what has an end tag, may be words about markup.
_MEDIUM = r"<\s*(?:image|video|audio)\s*>"
_END_TAG = re.compile(r"</\s*(?:image|video|audio)\s*>", re.IGNORECASE)
_MARK = re.compile(rf"^[ \t]*{_MEDIUM}[ \t]*$|\A\s*{_MEDIUM}|{_MEDIUM}\s*\Z", re.IGNORECASE | re.MULTILINE)
_OCR_LINE = re.compile(r"^\s*Reference OCR token:.*(?:\n|$)", re.IGNORECASE | re.MULTILINE)
# The format prompts of LLaVA-1.5's mixture, which the tasks' templates add again.
_PROMPTS = {
    "open_vqa": re.compile(r"\s*Answer the question using a single word or phrase\.?\s*$", re.IGNORECASE),
    "multiple_choice": re.compile(
        r"\s*Answer with the option['’]s letter from the given choices directly\.?\s*$", re.IGNORECASE
    ),
    "image_caption": re.compile(r"^\s*Provide a one-sentence caption for the provided image\.?\s*$", re.IGNORECASE),
}
_OTHER = {"video": "a video", "audio": "an audio recording"}
_CONNECTOR = "\n\n"


def read_turns(turns: Any) -> tuple[list[Turn], list[str]]:
    """(question, answer) pairs of [{"from", "value"}, ...], and a drop reason for each round that is not whole.

    Turns of one speaker in a row are one turn. An answer before any question, a question without an answer, and empty
    ones are dropped; system turns and unknown speakers are passed over.
    """
    pairs: list[Turn] = []
    dropped = 0
    question: str | None = None
    answer: str | None = None
    for speaker, text in _spoken(turns):
        if speaker == "answer":
            if question is None:
                dropped += 1
            else:
                answer = text if answer is None else f"{answer}{_CONNECTOR}{text}"
        elif answer is None and question is not None:
            question += f"{_CONNECTOR}{text}"
        else:
            if question is not None and answer is not None:
                pairs.append((question, answer))
            question, answer = text, None
    if question is not None:
        pairs.append((question, answer or ""))
    whole = [(asked, said) for asked, said in pairs if _IMAGE.sub("", asked).strip() and said.strip()]
    return whole, ["round_malformed"] * (dropped + len(pairs) - len(whole))


def _spoken(turns: Any) -> Iterator[Turn]:
    """("ask" or "answer", text) of the turns that are somebody's."""
    for turn in turns if isinstance(turns, list) else []:
        fields = turn if isinstance(turn, dict) else {}
        speaker = str(fields.get("from", fields.get("role", ""))).lower()
        text = fields.get("value", fields.get("content"))
        if isinstance(text, str) and speaker in _ASKS | _ANSWERS:
            yield "ask" if speaker in _ASKS else "answer", text


def with_task(turns: Sequence[Turn]) -> tuple[str, list[Turn]]:
    """The task of a conversation about an image, and its turns without that task's format prompt and OCR lines.

    The prompt stands in every round, or in the first one for all of them. Rounds that ask for different formats are an
    image conversation, which keeps its prompts.
    """
    cleaned = [(_OCR_LINE.sub("", asked).strip(), said.strip()) for asked, said in turns]
    asked_for = [_prompt(asked) for asked, _ in cleaned]
    task = asked_for[0] if asked_for else ""
    if not task or any(other not in ("", task) for other in asked_for):
        return "image_conversation", cleaned
    return task, [(_without_prompt(task, asked), said) for asked, said in cleaned]


def _prompt(asked: str) -> str:
    """The task whose format prompt the question carries, "" for none."""
    words = _IMAGE.sub("", asked)
    return next((task for task, pattern in _PROMPTS.items() if pattern.search(words)), "")


def _without_prompt(task: str, asked: str) -> str:
    if task == "image_caption":
        return " ".join(_IMAGE.findall(asked)) if _prompt(asked) else asked
    # an image may follow the prompt
    marks = _IMAGE.findall(asked) if _IMAGE.search(asked.rstrip()[-9:]) else []
    words = _IMAGE.sub("", asked).rstrip() if marks else asked
    return "\n".join([_PROMPTS[task].sub("", words), *marks])


def missing_media(turns: Iterable[Turn], images: int) -> str:
    """What the questions are about and the record does not hold, beside its `images` images; "" if it is all there.

    An image that is missing leaves a question that nobody can answer, so that such a record is no conversation.
    """
    marks = (mark for asked, _ in turns if not _END_TAG.search(asked) for mark in _MARK.findall(asked))
    found = [mark.strip("<> \t\n").lower() for mark in marks]
    other = next((kind for kind in found if kind != "image"), "")
    if other:
        return f"it is about {_OTHER[other]}, which is not read"
    return f"it has {len(found)} marks of images and {images} images" if len(found) > images else ""


def to_rounds(turns: Sequence[Turn], images: int) -> list[tuple[list[Part], list[Part]]]:
    """The turns as rounds with their `images` images where the texts have <image>; those without a mark come first.

    If the texts have more of them than there are images, those on lines of their own are marks before others are; the
    rest are words, and so are those in answers.
    """
    places = _image_places([asked for asked, _ in turns], images)
    placed = 0
    rounds = []
    for (asked, said), marks in zip(turns, places, strict=True):
        parts: list[Part] = []
        start = 0
        for mark in [*marks, None]:
            words = asked[start : mark.start() if mark else None].strip()
            parts += [text_part(words)] if words else []
            if mark:
                parts.append(image_part(placed))
                placed, start = placed + 1, mark.end()
        rounds.append((parts, [text_part(said.strip())]))
    if placed < images and rounds:
        # every mark has an image before another one does, so those left over move the others back
        shift = images - placed
        for asked_parts, _ in rounds:
            for part in asked_parts:
                part["image"] += shift if part["image"] >= 0 else 0
        rounds[0][0][:0] = [image_part(i) for i in range(shift)]
    return rounds


def _image_places(texts: Sequence[str], images: int) -> list[list[re.Match[str]]]:
    """The <image> of each text that stand for one of the `images` images, in their order."""
    found = [(number, match) for number, text in enumerate(texts) for match in _IMAGE.finditer(text)]
    if len(found) > images:
        marked = [{m.start() for m in _IMAGE.finditer(text) if _is_mark(text, m)} for text in texts]
        first = sorted(found, key=lambda place: place[1].start() not in marked[place[0]])[:images]
        found = [place for place in found if place in first]
    return [[match for number, match in found if number == i] for i in range(len(texts))]


def _is_mark(text: str, match: re.Match[str]) -> bool:
    return any(found.start() <= match.start() < found.end() for found in _MARK.finditer(text))


def content_id(given: Any, *content: Any) -> str:
    """A record's id: the dataset's own, which several of its records may share, and a digest of what it says."""
    digest = hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=6).hexdigest()
    own = text_id(given)
    return f"{own}-{digest}" if own else digest
