"""Documents of MMC4 (C.6): sentences and images in the order of their web page, or one image with its sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import accumulate

from mmgic.documents.columns import kept_document, key_columns, rejected_document
from mmgic.documents.encode import encode_parts, start_and_end
from mmgic.documents.pairs import build_pair
from mmgic.documents.template import ImageSlot, Segment, one_line, to_text
from mmgic.documents.writing import DocumentMaker, Writing
from mmgic.schema import Document, Interleaved, Part, UnfitDocument, add_drops, record_generator


@dataclass(frozen=True)
class MakeInterleaved(DocumentMaker[Interleaved]):
    """INTERLEAVED row of the task "interleaved" or "pair" -> DOCUMENT row."""

    used = ("max_tokens", "image_first_prob", "page_images", "single_image_prob")
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
    """The `schema.DOCUMENT` row of an MMC4 document, by MM-Interleaved's procedure: all of it is supervised.

    Of the images with codes `settings.page_images` are drawn; a page that has one goes on with probability
    `single_image_prob`. Each image stands before its sentence with probability `image_first_prob`, otherwise after it.
    Each sentence after the first part begins on a new line. A document that is longer than `settings.max_tokens` is
    cut after the last part that fits, and the parts beyond are counted. A row without any image, or whose first part
    alone is too long, is rejected. The draws come from `record_generator(seed, "documents", source, image_id)`.
    """
    settings = writing.settings
    key = key_columns(row, 0, corpus, "interleaved")
    images = [image["codes"] for image in row["images"]]
    usable = [i for i, codes in enumerate(images) if len(codes)]
    if not usable:
        return rejected_document(key, "no_visual_tokens", "no image of the document has visual tokens")
    generator = record_generator(writing.seed, "documents", row["source"], row["image_id"])
    drawn = set(generator.permutation(usable)[: settings.page_images].tolist())
    if len(drawn) == 1 and generator.random() >= settings.single_image_prob:
        return rejected_document(key, "not_sampled", "a page with one image")
    comes_first = (generator.random(len(images)) < settings.image_first_prob).tolist()

    start, end = start_and_end(writing.tokenizer)
    parts = _placed([part for made in row["rounds"] for part in made["response"]], drawn, comes_first)
    segments: list[Segment] = [
        ("\n" if i and isinstance(part, str) else "") + part if isinstance(part, str) else part
        for i, part in enumerate(parts)
    ]
    encoded = encode_parts(writing.tokenizer, writing.vocabulary, [[segment] for segment in segments], images)
    lengths = accumulate(map(len, encoded), initial=len(start) + 1)
    fitting = sum(length <= settings.max_tokens for length in lengths) - 1
    if fitting < 1:
        needed = len(start) + 1 + len(encoded[0])
        detail = f"{needed} tokens of the first part alone; {settings.max_tokens} are allowed"
        return rejected_document(key, "too_long", detail)
    drops = ["image_not_drawn"] * (len(usable) - len(drawn)) + ["part_cut"] * (len(parts) - fitting)
    key["drops"] = add_drops(row["drops"], drops)
    input_ids = [*start, *(token for ids in encoded[:fitting] for token in ids), end]
    return kept_document(key, writing.vocabulary, text=to_text(segments[:fitting]), input_ids=input_ids)


def _placed(parts: Sequence[Part], drawn: Set[int], comes_first: Sequence[bool]) -> list[Segment]:
    """A page's sentences and `drawn` images; in `parts` each image precedes its sentence."""
    placed: list[Segment] = []
    waiting: list[int] = []  # images whose sentence comes next
    for part in parts:
        if part["image"] in drawn:
            waiting.append(part["image"])
        elif sentence := one_line(part["text"]):
            placed += [ImageSlot(i) for i in waiting if comes_first[i]]
            placed += [sentence, *(ImageSlot(i) for i in waiting if not comes_first[i])]
            waiting = []
    return [*placed, *map(ImageSlot, waiting)]
