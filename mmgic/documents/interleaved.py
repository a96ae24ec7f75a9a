"""Documents of MMC4 (C.6): sentences and images in the order of their web page, or one image with its sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

from mmgic.documents.columns import kept_document, key_columns, rejected_document
from mmgic.documents.encode import encode_parts, start_and_end
from mmgic.documents.pairs import build_pair
from mmgic.documents.template import ImageSlot, Segment, one_line, to_text
from mmgic.documents.writing import DocumentMaker, Writing
from mmgic.schema import Document, Interleaved, UnfitDocument, add_drops


@dataclass(frozen=True)
class MakeInterleaved(DocumentMaker[Interleaved]):
    """INTERLEAVED row of the task "interleaved" or "pair" -> DOCUMENT row."""

    used = ("max_tokens", "image_first_prob")
    corpora: Mapping[str, str]  # source -> what a curriculum calls its documents

    def __call__(self, row: Interleaved) -> Document | UnfitDocument:
        return build_interleaved(row, self.writing, corpus=self.corpora[row["source"]])


def build_interleaved(row: Interleaved, writing: Writing, *, corpus: str) -> Document | UnfitDocument:
    """The `schema.DOCUMENT` row of a row of the task "interleaved" or "pair"; pairs go by `build_pair`."""
    if row["task"] == "interleaved":
        return build_web_page(row, writing, corpus=corpus)
    sentence = one_line(" ".join(part["text"] for made in row["rounds"] for part in made["response"]))
    captions = [f"Caption: {sentence}"] if sentence else []
    return build_pair(row, row["images"][0]["codes"], captions, writing, corpus=corpus)


def build_web_page(row: Interleaved, writing: Writing, *, corpus: str) -> Document | UnfitDocument:
    """The `schema.DOCUMENT` row of an MMC4 document: all of it is supervised.

    Each sentence after the first part begins on a new line. A document that is longer than `settings.max_tokens` is
    cut after the last part that fits, and the parts beyond are counted. Images without codes are left out. A row
    without any image, or whose first part alone is too long, is rejected.
    """
    key = key_columns(row, 0, corpus, "interleaved")
    images = [image["codes"] for image in row["images"]]
    parts = [part for made in row["rounds"] for part in made["response"]]
    parts = [part for part in parts if part["text"].strip() or (part["image"] >= 0 and len(images[part["image"]]))]
    if all(part["image"] < 0 for part in parts):
        return rejected_document(key, "no_visual_tokens", "no image of the document has visual tokens")

    start, end = start_and_end(writing.tokenizer)
    segments: list[Segment] = [
        ImageSlot(part["image"]) if part["image"] >= 0 else ("\n" if i else "") + one_line(part["text"])
        for i, part in enumerate(parts)
    ]
    encoded = encode_parts(writing.tokenizer, writing.vocabulary, [[segment] for segment in segments], images)
    max_tokens = writing.settings.max_tokens
    lengths = accumulate(map(len, encoded), initial=2)
    fitting = sum(length <= max_tokens for length in lengths) - 1
    if fitting < 1:
        needed = 2 + len(encoded[0])
        detail = f"{needed} tokens of the first part alone; {max_tokens} are allowed"
        return rejected_document(key, "too_long", detail)
    key["drops"] = add_drops(row["drops"], ["part_cut"] * (len(parts) - fitting))
    input_ids = [start, *(token for ids in encoded[:fitting] for token in ids), end]
    return kept_document(key, writing.vocabulary, text=to_text(segments[:fitting]), input_ids=input_ids)
