"""MMGIC's documents: a tokenized image with its multi-grained concept annotations becomes text and ids (F.7)."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate, chain

from mmgic.descriptions.reading import Descriptions, read_descriptions
from mmgic.documents.columns import kept_document, key_columns, rejected_document
from mmgic.documents.encode import encode_parts, start_and_end
from mmgic.documents.template import REGIONS_HEADING, Order, Segment, image_part, of_recipe, region_part, to_text
from mmgic.documents.writing import DocumentMaker, Writing
from mmgic.schema import Document, TokenizedImage, UnfitDocument, record_generator


@dataclass(frozen=True)
class MakeDocument(DocumentMaker[TokenizedImage]):
    """TOKENIZED_IMAGE row -> DOCUMENT row."""

    used = ("recipe", "max_tokens", "image_first_prob", "description_dropout")
    descriptions: str  # JSON lines; "" for none
    repeat: int  # which of its documents, from 0

    def __call__(self, row: TokenizedImage) -> Document | UnfitDocument:
        descriptions = read_descriptions(self.descriptions).of(row["source"])
        return build_document(row, self.writing, descriptions, repeat=self.repeat, corpus="mmgic")


def build_document(
    row: TokenizedImage, writing: Writing, descriptions: Descriptions, *, repeat: int, corpus: str
) -> Document | UnfitDocument:
    """The `schema.DOCUMENT` row of one `schema.TOKENIZED_IMAGE` row (F.7, steps 1 to 4).

    A document has at most `settings.max_tokens` tokens, <s> and </s> included; F.7's step 4 acts on longer ones alone.
    It removes one region at a time until the document fits; as the regions are shuffled, that leaves the longest
    beginning of their order that fits, which the lengths alone tell. A document that is too long with descriptions and
    without regions is filled again without descriptions, and again with as many regions as fit; if that is too long
    without regions, the row is rejected as `too_long`. Regions without codes are not placed; an image without codes is
    rejected as `no_visual_tokens`. Where none of the image's labels has a description, the form without descriptions is
    used.

    The draws come from `record_generator(seed, "documents", source, image_id, repeat)` in this order, always all three:
    the order of image and text, whether the descriptions are dropped, a permutation of all the row's regions.
    """
    tokenizer, vocabulary, settings = writing.tokenizer, writing.vocabulary, writing.settings
    row = of_recipe(row, settings.recipe)
    generator = record_generator(writing.seed, "documents", row["source"], row["image_id"], repeat)
    order: Order = "image_first" if generator.random() < settings.image_first_prob else "text_first"
    drops_descriptions = generator.random() < settings.description_dropout
    shuffled = generator.permutation(len(row["regions"])).tolist()

    key = key_columns(row, repeat, corpus, order)
    images = [row["codes"], *(region["codes"] for region in row["regions"])]
    if len(images[0]) == 0:
        return rejected_document(key, "no_visual_tokens", "the image has no visual tokens")

    placed = [i for i in shuffled if len(images[1 + i])] if "R" in settings.recipe else []
    placed = placed[: settings.max_tokens]  # each takes a token at least: more cannot fit
    regions = [region_part(row["regions"][i], 1 + i, order) for i in placed]
    heading_ids, *regions_ids = encode_parts(tokenizer, vocabulary, [[REGIONS_HEADING], *regions], images)
    lengths = list(accumulate(map(len, regions_ids), initial=len(heading_ids)))

    start, end = start_and_end(tokenizer)
    describes = "D" in settings.recipe and not drops_descriptions and has_description(row, descriptions)
    for form in [descriptions, None] if describes else [None]:
        segments: list[Segment] = image_part(row, order, settings.recipe, form)
        (input_ids,) = encode_parts(tokenizer, vocabulary, [segments], images)
        room = settings.max_tokens - len(input_ids) - len(start) - 1
        if room < 0:
            continue
        fitting = max(0, bisect_right(lengths, room) - 1)
        if fitting:
            segments += [REGIONS_HEADING, *chain.from_iterable(regions[:fitting])]
            input_ids += chain(heading_ids, *regions_ids[:fitting])
        return kept_document(
            key,
            vocabulary,
            text=to_text(segments),
            input_ids=[*start, *input_ids, end],
            with_descriptions=form is not None,
            num_regions=fitting,
        )
    needed = len(input_ids) + len(start) + 1
    return rejected_document(key, "too_long", f"{needed} tokens without regions; {settings.max_tokens} are allowed")


def has_description(row: TokenizedImage, descriptions: Descriptions) -> bool:
    """Whether any of the row's labels has a description."""
    return (
        any(thing["label"] in descriptions.objects for thing in row["objects"])
        or any(attribute["label"] in descriptions.attributes for attribute in row["attributes"])
        or any(relationship["label"] in descriptions.relationships for relationship in row["relationships"])
    )
