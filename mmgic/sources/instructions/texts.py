"""Instructions without images: Alpaca, and ShareGPT's conversations.

Alpaca: [{"instruction", "input" ("" for none), "output"}]. ShareGPT: [{"id", "conversations": [{"from", "value"}]}],
if a conversation may begin with an answer, hold a message in parts, and be written in HTML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

from mmgic.schema import KEPT, Interleaved, reject
from mmgic.settings import SourceSettings
from mmgic.sources.instructions.conversations import content_id, missing_media, read_turns
from mmgic.sources.reading.index import RecordIndex
from mmgic.sources.reading.json_files import json_array
from mmgic.sources.reading.records import source_records
from mmgic.sources.rows import interleaved, text_part

_IS_HTML = re.compile(r"\s*<(div|p|ul|ol|span|h[1-6]|pre)\b[^>]*>", re.IGNORECASE)
_BLOCKS = frozenset({"p", "div", "li", "ul", "ol", "tr", "table", "br", "h1", "h2", "h3", "h4", "h5", "h6"})
_HIDDEN = frozenset({"script", "style", "button", "svg"})


def read_alpaca(source: SourceSettings) -> Iterator[Interleaved]:
    """Yields a row per record; the input, if there is one, follows the instruction after an empty line."""
    for where, record, index in _records(source):
        asked = "\n\n".join(filter(None, (_text(record.get("instruction")), _text(record.get("input")))))
        answered = _text(record.get("output"))
        record_id = content_id(record.get("id"), asked, answered) if asked and answered else where
        seen = index.times_seen(record_id)
        if not _text(record.get("instruction")) or not answered:
            verdict = reject("bad_record", f"{where} has no instruction or no output")
            yield interleaved(source.name, record_id, seen, "text_only", **verdict)
        else:
            rounds = [([text_part(asked)], [text_part(answered)])]
            yield interleaved(source.name, record_id, seen, "text_only", rounds=rounds)


def read_sharegpt(source: SourceSettings) -> Iterator[Interleaved]:
    """Yields a row per conversation; rounds that are not whole are dropped and counted."""
    for where, record, index in _records(source):
        turns, drops = read_turns(record.get("conversations", record.get("items")))
        rounds = [([text_part(plain_text(asked))], [text_part(plain_text(said))]) for asked, said in turns]
        whole = [(asked, said) for asked, said in rounds if asked[0]["text"] and said[0]["text"]]
        drops += ["round_malformed"] * (len(rounds) - len(whole))
        record_id = content_id(record.get("id"), turns or where)
        verdict = KEPT if whole else reject("bad_record", f"{where} has no round with a question and an answer")
        if missing := missing_media(turns, 0):
            verdict = reject("bad_record", f"{where}: {missing}")
        seen = index.times_seen(record_id)
        yield interleaved(source.name, record_id, seen, "text_only", rounds=whole, drops=drops, **verdict)


def _records(source: SourceSettings) -> Iterator[tuple[str, dict[str, Any], RecordIndex]]:
    with RecordIndex() as index:
        for where, record in source_records(source, json_array):
            yield where, record if isinstance(record, dict) else {}, index


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def plain_text(message: str) -> str:
    """A message that is written in HTML as text; any other as it is, HTML that it only talks about included."""
    if not _IS_HTML.match(message):
        return message.strip()
    reader = _PlainText()
    reader.feed(message)
    reader.close()
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", "".join(reader.pieces))).strip()


class _PlainText(HTMLParser):
    """Blocks on lines of their own, list items with a dash, code between fences."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self._hidden = 0
        self._code = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in _HIDDEN
        self._code += tag == "pre"
        if tag == "pre":
            self.pieces.append("\n```\n")
        elif tag in _BLOCKS:
            self.pieces.append("\n- " if tag == "li" else "\n")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in _HIDDEN and self._hidden > 0
        self._code -= tag == "pre" and self._code > 0
        if tag == "pre":
            self.pieces.append("\n```\n")
        elif tag in _BLOCKS and tag not in ("li", "br"):
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.pieces.append(data if self._code else re.sub(r"\s+", " ", data))
