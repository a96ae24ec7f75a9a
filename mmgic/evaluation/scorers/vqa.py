"""VQA accuracy: an answer against the ten that people gave (GT-Vision-Lab/VQA; VizWiz's fork of it)."""

from __future__ import annotations

import re
from collections.abc import Sequence

_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_DIGIT_COMMA = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"\.(?!\d)")
_FULL_STOPS = 32  # are removed at most: the original gives a flag of this value as the count
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DIGITS = {"none": "0", **{word: str(number) for number, word in enumerate(_NUMBERS)}}
_ARTICLES = ("a", "an", "the")
# Contracted forms whose spelling without one of the apostrophes is mended.
_CONTRACTED = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've
    he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've
    o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's
    someone'd someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've
    there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's
    what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've
    wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""
_MENDED = {
    word[:i] + word[i + 1 :]: word for word in _CONTRACTED.split() for i, letter in enumerate(word) if letter == "'"
} | {"somebody'd": "somebodyd"}  # the original has this one the other way round


def stripped(answer: str) -> str:
    """An answer as the rule compares it at the least: on one line, without blanks around it."""
    return answer.replace("\n", " ").replace("\t", " ").strip()


def normalized(answer: str) -> str:
    """An answer without punctuation, articles and capitals, its number words as digits.

    A mark is removed if a space is beside it, or if the answer has a comma between digits anywhere; otherwise it
    becomes a space.
    """
    text, all_removed = answer, _DIGIT_COMMA.search(answer) is not None
    for mark in _MARKS:
        removed = all_removed or f"{mark} " in answer or f" {mark}" in answer
        text = text.replace(mark, "" if removed else " ")
    text = _FULL_STOP.sub("", text, count=_FULL_STOPS)
    words = [_DIGITS.get(word, word) for word in text.lower().split()]
    return " ".join(_MENDED.get(word, word) for word in words if word not in _ARTICLES)


def agreement(answer: str, references: Sequence[str]) -> float:
    """The mean over the references of min(1, m / 3), where m of the others equal the answer."""
    found = [reference == answer for reference in references]
    same = sum(found)
    return sum(min(1.0, (same - own) / 3) for own in found) / len(references)


def vqa_accuracy(answer: str, references: Sequence[str]) -> float:
    """VQAv2's accuracy in [0, 1]. If all references are the same, nothing is normalised: "Yes" is not "yes" then."""
    said, known = stripped(answer), [stripped(reference) for reference in references]
    if len(set(known)) > 1:
        said, known = normalized(said), [normalized(reference) for reference in known]
    return agreement(said, known)


def vizwiz_accuracy(answer: str, references: Sequence[str]) -> float:
    """VizWiz's accuracy in [0, 1]: the answer is always normalised, the references never."""
    return agreement(normalized(stripped(answer)), [stripped(reference) for reference in references])
