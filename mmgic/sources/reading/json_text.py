"""JSON with what tools write and the standard does not know, or most readers do not take, mended as it is read.

- Half of a surrogate pair, of a text that was cut inside an emoji, is no character: UTF-8 and Arrow refuse it. Its
  escape is read as U+FFFD, the replacement character.
- NaN, Infinity and -Infinity are read as null.
- Integers of 19 digits and more, which may not fit in 64 bits, are read as texts of their digits: they are ids.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterator
from typing import IO, Any

BLOCK = 1 << 16  # bytes; longer ones are no faster

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

_LONG = 19  # digits
_DIGITS = bytes(ord("0") if chr(i).isascii() and chr(i).isdigit() else 0 for i in range(256))
_STRING_END = re.compile(r'[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_CANDIDATE = re.compile(rf"(?:\A|[\[,:\s-])(?:NaN|Infinity|[0-9]{{{_LONG},}})(?:\Z|[,\]}}\s])")
# strings, so that nothing is found inside of them; a name that is no value; a whole number that is too long
_ODD = re.compile(
    rf'"{_STRING_END.pattern}|(-?\b(?:NaN|Infinity)\b)|(?<![\w.+-])(-?[0-9]{{{_LONG},}})(?![\w.])', re.DOTALL
)
_VALUE_SIGNS = string.ascii_letters + string.digits + "+-."
_MAX_VALUE = 1 << 20  # characters of a number, beyond which it may be torn


def load_json(text: str) -> Any:
    """The value of a JSON text. Raises ValueError if it is none, and RecursionError if it is nested too deep."""
    mended = mend_halves(text)
    return json.loads(_mend_values(mended, False) if _has_odd_values(mended) else mended)


def mended_blocks(file: IO[bytes]) -> Iterator[bytes]:
    """The bytes of a JSON file mended, in memory of one block."""
    rest, inside = "", False  # inside: the text begins in the middle of a string
    while block := file.read(BLOCK):
        text = rest + block.decode("latin-1")  # a character a byte: what is not ASCII passes as it is
        end = _end_of_whole(text)
        ends_inside = inside ^ _toggles(text[:end])
        if not ends_inside:  # a number may go on in the next block
            stem = len(text[:end].rstrip(_VALUE_SIGNS))
            end = stem if end - stem < _MAX_VALUE else end
        text, rest = text[:end], text[end:]
        if text:
            yield _mended(text, inside)
        inside = ends_inside
    if rest:
        yield _mended(rest, inside)


def _mended(text: str, inside: bool) -> bytes:
    text = mend_halves(text)
    return (_mend_values(text, inside) if _has_odd_values(text) else text).encode("latin-1")


def _has_odd_values(text: str) -> bool:
    """If a text may hold values that `_mend_values` replaces, found fast."""
    named = ("N" in text and "NaN" in text) or ("I" in text and "Infinity" in text)  # one sign is found much faster
    long = named or b"0" * _LONG in text.encode(errors="replace").translate(_DIGITS)
    return long and _CANDIDATE.search(text) is not None


def _mend_values(text: str, inside: bool) -> str:
    start = _STRING_END.match(text).end() if inside else 0  # type: ignore[union-attr]  # it matches the empty text

    def mend(found: re.Match[str]) -> str:
        return "null" if found[1] else f'"{found[2]}"' if found[2] else found[0]

    return text[:start] + _ODD.sub(mend, text[start:])


def _toggles(text: str) -> bool:
    """If the quotes of a text that breaks off no escape lead into a string or out of one."""
    if "\\" not in text:
        return bool(text.count('"') % 2)
    bare = text.replace("\\\\", "")
    return bool((bare.count('"') - bare.count('\\"')) % 2)


def mend_halves(text: str) -> str:
    """JSON text with the escapes of unpaired surrogates replaced by that of U+FFFD; its length stays."""
    return _ESCAPE.sub(lambda match: r"\ufffd" if match[1] else match[0], text) if _SUSPECT.search(text) else text


def _end_of_whole(text: str) -> int:
    """Where an escape begins that the text breaks off, its length if there is none."""
    start = len(text[:-_LONGEST].rstrip("\\"))  # before a run of backslashes, of which every other one is escaped
    found = _BROKEN_OFF.search(text, start)
    return found.start(1) if found else len(text)
