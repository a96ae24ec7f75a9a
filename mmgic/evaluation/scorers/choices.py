"""Which option a free answer names: whole letters and whole texts of options, never a guess."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mmgic.evaluation.benchmark import Item, Judgement

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
RULE = (
    "the option's letter as a whole word, or its text; anything else is wrong (after VLMEvalKit, without its guesses)"
)
_MARKS = re.compile(r"[.()\[\],:;!*#{}]")
_LEADING = re.compile(r"\W*([A-Z])\s*[.):]")
_SAID = re.compile(r"\b(?:answer|option|choice)\s*(?:is|:)?[\s:*([]*([A-Z])\b(?!')")
_ARTICLE = re.compile(r"[AI][ \t]+[a-z]")  # or a pronoun
_LAST = 5  # words in which a letter without more must stand


def read_choice(answer: str, options: Sequence[str], choices: Sequence[str] = ()) -> str:
    """The one option that `answer` names, "" if it names none or several. `choices` are the options' texts.

    A letter may stand alone ("b"), lead ("B. a cat"), be announced ("the answer is **B**") or be the only letter among
    the last words. "A" among several words may be an article and counts only if it leads or is announced.
    """
    text = answer.strip()
    bare = _MARKS.sub(" ", text).strip()
    if len(bare) == 1:
        return bare.upper() if bare.upper() in options else ""
    texts = {option: choice.strip().lower() for option, choice in zip(options, choices, strict=False)}
    if len(whole := [option for option, own in texts.items() if own and own == text.lower().strip(" .")]) == 1:
        return whole[0]
    for pattern in (_LEADING.match, _SAID.search):
        if (found := pattern(text)) and found[1] in options and not _ARTICLE.match(text, found.start(1)):
            return found[1]
    words = bare.split()
    letters = [(place, word) for place, word in enumerate(words) if word in options]
    if len(letters) == 1 and letters[0][0] > len(words) - _LAST and (letters[0][1] != "A" or len(words) <= 3):
        return letters[0][1]
    low = text.lower()
    named = [option for option, own in texts.items() if own and re.search(rf"(?<!\w){re.escape(own)}(?!\w)", low)]
    return named[0] if len(named) == 1 else ""


def judged(items: Sequence[Item], answers: Sequence[str]) -> list[Judgement]:
    """The verdict on each answer to a question with lettered options."""
    read = [read_choice(answer, item.options, item.choices) for item, answer in zip(items, answers, strict=True)]
    return [Judgement(float(said in item.target), said) for item, said in zip(items, read, strict=True)]
