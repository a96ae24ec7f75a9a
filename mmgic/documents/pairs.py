"""Documents of an image and its captions: IC (G.3) and MMC4-pairs (C.6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mmgic.documents.columns import kept_document, key_columns, rejected_document
from mmgic.documents.encode import encode_parts, start_and_end
from mmgic.documents.template import ImageSlot, Order, Segment, one_line, to_text
from mmgic.documents.writing import DocumentMaker, Writing
from mmgic.schema import AnyRow, Document, TokenizedPair, UnfitDocument, record_generator


@dataclass(frozen=True)
class MakePair(DocumentMaker[TokenizedPair]):
    """TOKENIZED_PAIR row -> DOCUMENT row.

    The short caption is `caption_coco`, or the web's if there is no other; the detailed one is `caption_capsfusion`.
    """

    used = ("max_tokens", "image_first_prob")
    corpora: Mapping[str, str]  # source -> what a curriculum calls its documents

    def __call__(self, row: TokenizedPair) -> Document | UnfitDocument:
        detailed = one_line(row["caption_capsfusion"])
        short = one_line(row["caption_coco"]) or ("" if detailed else one_line(row["caption_origin"]))
        captions = [f"{name}: {text}" for name, text in (("Caption", short), ("Detailed caption", detailed)) if text]
        return build_pair(row, row["codes"], captions, self.writing, corpus=self.corpora[row["source"]])


def build_pair(
    row: AnyRow, codes: Sequence[int], captions: Sequence[str], writing: Writing, *, corpus: str
) -> Document | UnfitDocument:
    """The `schema.DOCUMENT` row of an image with its lines of `captions`.

    The order of image and text is one draw from `record_generator(seed, "documents", source, image_id)`. A pair that
    is longer than `settings.max_tokens` is rejected as `too_long`.
    """
    settings = writing.settings
    generator = record_generator(writing.seed, "documents", row["source"], row["image_id"])
    order: Order = "image_first" if generator.random() < settings.image_first_prob else "text_first"
    key = key_columns(row, 0, corpus, order)
    if len(codes) == 0:
        return rejected_document(key, "no_visual_tokens", "the image has no visual tokens")
    if not captions:
        return rejected_document(key, "no_caption", "the image has no caption")

    start, end = start_and_end(writing.tokenizer)
    segments = pair_segments(captions, order)
    (ids,) = encode_parts(writing.tokenizer, writing.vocabulary, [segments], [codes])
    input_ids = [*start, *ids, end]
    if len(input_ids) > settings.max_tokens:
        return rejected_document(key, "too_long", f"{len(input_ids)} tokens; {settings.max_tokens} are allowed")
    return kept_document(key, writing.vocabulary, text=to_text(segments), input_ids=input_ids)


def pair_segments(captions: Sequence[str], order: Order) -> list[Segment]:
    """The template of G.3, in both orders."""
    if order == "image_first":
        return ["Image: ", ImageSlot(0), "\n".join(["", *captions])]
    return ["\n".join([*captions, "Image: "]), ImageSlot(0)]
