"""JSON whose strings hold half of a surrogate pair, as tools write that cut a text inside an emoji.

Such a half is no character: UTF-8 and Arrow refuse it. Its escape is read as U+FFFD, the replacement character.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import IO, Any

BLOCK = 1 << 16  # bytes

_HIGH = "u[dD][89abAB][0-9a-fA-F]{2}"
_LOW = "u[dD][c-fC-F][0-9a-fA-F]{2}"
# What a text without halves lacks, found fast: \ud8 to \udb without a second half, \udc to \udf without a first one, or
# either after an escaped backslash.
_SUSPECT = re.compile(rf"\\u[dD](?:[89abAB]..(?!\\{_LOW})|[c-fC-F]..(?<!\\{_HIGH}\\{_LOW})|(?<=\\\\u[dD]))", re.DOTALL)
# every escape, so that none begins inside another; those of a half are group 1
_ESCAPE = re.compile(rf"\\(?:{_HIGH}\\{_LOW}|({_HIGH}|{_LOW})|.)", re.DOTALL)
# an escape, or the first half of a pair, at the end of a text: what follows decides
_LONGEST = len(r"\ud83d\ude0")
_BROKEN_OFF = re.compile(rf"(?<!\\)(?:\\\\)*(\\(?:u[0-9a-fA-F]{{0,3}}|{_HIGH}(?:\\(?:u[0-9a-fA-F]{{0,3}})?)?)?)\Z")


def load_json(text: str) -> Any:
    """The value of a JSON text. Raises ValueError if it is none, and RecursionError if it is nested too deep."""
    return json.loads(mend_halves(text))


def mended_blocks(file: IO[bytes]) -> Iterator[bytes]:
    """The bytes of a JSON file with its halves of pairs replaced, in memory of one block."""
    rest = ""
    while block := file.read(BLOCK):
        text = rest + block.decode("latin-1")  # a character a byte: what is not ASCII passes as it is
        end = _end_of_whole(text)
        text, rest = text[:end], text[end:]
        if text:
            yield mend_halves(text).encode("latin-1")
    if rest:
        yield mend_halves(rest).encode("latin-1")


def mend_halves(text: str) -> str:
    """JSON text with the escapes of unpaired surrogates replaced by that of U+FFFD; its length stays."""
    return _ESCAPE.sub(lambda match: r"\ufffd" if match[1] else match[0], text) if _SUSPECT.search(text) else text


def _end_of_whole(text: str) -> int:
    """Where an escape begins that the text breaks off, its length if there is none."""
    start = len(text[:-_LONGEST].rstrip("\\"))  # before a run of backslashes, of which every other one is escaped
    found = _BROKEN_OFF.search(text, start)
    return found.start(1) if found else len(text)
