"""What a row shows: its picture, the marks on it, its texts and its token ids."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from mmgic.errors import InputError
from mmgic.files import read_mapping
from mmgic.model.llama_config import load_llama_config
from mmgic.model.text_tokenizer import load_text_tokenizer
from mmgic.paths import absolute
from mmgic.stages import tables

Row = Mapping[str, Any]

_BOX = "fill:none;vector-effect:non-scaling-stroke"
_TEXT = "fill:#fff;stroke:#000;stroke-linejoin:round;paint-order:stroke;font-family:sans-serif;font-weight:600"
_COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000")
PICTURED = {"image_path", "images"}  # the columns that say where a row's images are
_LONG = ("input_ids", "codes")  # columns that are not worth reading as numbers


def picture_paths(row: Row) -> list[str]:
    """The paths of a row's images, as far as they are known."""
    paths = [row["image_path"]] if "image_path" in row else [image["image_path"] for image in row.get("images", [])]
    return [path for path in paths if path]


def summary(row: Row) -> str:
    """The row in a line or two."""
    rounds = [part["text"] for turn in row.get("rounds", []) for part in (*turn["instruction"], *turn["response"])]
    names = ("caption", "caption_coco", "caption_origin", "caption_capsfusion", "text")
    text = next((row[name] for name in names if row.get(name)), "") or " ".join(filter(None, rounds))
    labels = ", ".join(dict.fromkeys(thing["label"] for thing in row.get("objects", [])))
    line = text or labels
    return line if len(line) <= 200 else f"{line[:200]}…"


MARKED = ("regions", "objects")  # what `marks` can draw


def marks(row: Row, width: int, height: int, kind: str) -> str:
    """An SVG drawing, in the picture's pixels, of the row's regions or of its objects' boxes, as `kind` says; "" if it
    has none.

    Labels are white on a black rim and boxes have a dark rim, so that they can be read over any picture, and labels
    stay inside of it. Objects' boxes are dashed.
    """
    size = width / 30
    dashes = "" if kind == "regions" else ";stroke-dasharray:7 4"
    drawn = []
    for i, (x, y, w, h, label) in enumerate(_boxes(row, width, height, kind)):
        box = f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" style="{_BOX};'
        colour = _COLOURS[i % len(_COLOURS)]
        drawn += [f'{box}stroke:#000;stroke-width:4"/>', f'{box}stroke:{colour};stroke-width:2{dashes}"/>']
        anchor, place = ("end", x + w - 3) if x + w / 2 > width / 2 else ("start", x + 3)
        line = min(max(size, y + size), height - size / 4)
        drawn.append(
            f'<text x="{place:.1f}" y="{line:.1f}" font-size="{size:.0f}" text-anchor="{anchor}" '
            f'style="{_TEXT};stroke-width:{size / 4:.1f}">{escape(label)}</text>'
        )
    return "".join(drawn)


def _boxes(row: Row, width: int, height: int, kind: str) -> list[tuple[float, float, float, float, str]]:
    """(x, y, width, height, label) in the picture's pixels."""
    if kind == "regions":
        return [
            (r["x"] * width, r["y"] * height, r["side"] * width, r["side"] * height, ", ".join(r["labels"]))
            for r in row.get("regions", [])
        ]
    scale_x, scale_y = width / max(1, row.get("width") or width), height / max(1, row.get("height") or height)
    return [
        (o["x"] * scale_x, o["y"] * scale_y, o["w"] * scale_x, o["h"] * scale_y, o["label"])
        for o in row.get("objects", [])
    ]


def concepts(row: Row) -> list[dict[str, str]]:
    """The row's labels as lines of a table: kind, label, and what it is said of."""
    label_of = {thing["object_id"]: thing["label"] for thing in row.get("objects", [])}
    lines = [{"kind": "object", "label": thing["label"], "of": _box(thing)} for thing in row.get("objects", [])]
    lines += [
        {"kind": "attribute", "label": a["label"], "of": label_of.get(a["object_id"], a["object_id"])}
        for a in row.get("attributes", [])
    ]
    lines += [
        {
            "kind": "relationship",
            "label": r["label"],
            "of": " - ".join(label_of.get(r[end], r[end]) for end in ("subject_id", "object_id")),
        }
        for r in row.get("relationships", [])
    ]
    lines += [
        {
            "kind": "region",
            "label": ", ".join(region["labels"]),
            "of": f"{region['location']}; {len(region['codes'])} codes",
        }
        for region in row.get("regions", [])
    ]
    return lines


def _box(thing: Row) -> str:
    return " ".join(f"{name} {thing[name]:.0f}" for name in ("x", "y", "w", "h"))


def shortened(row: Row) -> dict[str, Any]:
    """The row without its long lists of numbers, for reading as JSON."""
    return {name: _short(name, value) for name, value in row.items()}


def _short(name: str, value: Any) -> Any:
    if name in _LONG and isinstance(value, list):
        return f"{len(value)} ids"
    if isinstance(value, Mapping):
        return {key: _short(key, item) for key, item in value.items()}
    return [_short("", item) for item in value] if isinstance(value, list) else value


@dataclass(frozen=True)
class TokenReader:
    """Says what the ids of a run's documents stand for."""

    pieces: Callable[[Sequence[int]], list[str]]
    text_size: int  # ids below this are text; then [IMG], [/IMG] and the codes

    def describe(self, token: int) -> tuple[str, str]:
        """(what to show, kind) of an id; the kinds are text, image and code."""
        if token < self.text_size:
            return self.pieces([token])[0], "text"
        names = {0: "[IMG]", 1: "[/IMG]"}
        offset = token - self.text_size
        return (names[offset], "image") if offset in names else (str(offset - 2), "code")

    def html(self, ids: Sequence[int], spans: Sequence[Sequence[int]]) -> str:
        """The ids as one HTML paragraph: pieces with their ids as titles; answers are underlined."""
        answers = {i for start, end in spans for i in range(start, end)}
        shown = []
        for i, token in enumerate(ids):
            text, kind = self.describe(token)
            classes = f"token {kind}{' answer' if i in answers else ''}"
            shown.append(f'<span class="{classes}" title="{token}">{escape(text)}</span>')
        return f'<p class="tokens">{"".join(shown)}</p>'


def token_reader(output: str) -> TokenReader | None:
    """The reader for the run in `output`, or None if its settings or its language model are not at hand."""
    settings = read_mapping(posixpath.join(absolute(output), tables.SETTINGS), "run the build again, which writes it")
    llm = (settings or {}).get("model", {}).get("llm")
    if not llm or not Path(llm).is_dir():
        return None
    try:
        tokenizer, config = load_text_tokenizer(llm), load_llama_config(llm)
    except InputError:
        return None
    return TokenReader(lambda ids: [tokenizer.decode([i]) for i in ids], config.vocab_size)
