"""Instruction documents out of the pre-training corpora (H.1): MMGIC in both orders, and LAION-COCO-Aesthetic.

Each of the two is a corpus of its own, so that a curriculum decides whether a run reads it.
"""

from __future__ import annotations

from dataclasses import dataclass

from mmgic.descriptions.reading import Descriptions, read_descriptions
from mmgic.documents.columns import kept_document, key_columns, rejected_document
from mmgic.documents.multi_grained import has_description
from mmgic.documents.rounds import build_rounds_document, fit_rounds
from mmgic.documents.tasks import Round, framed, responded
from mmgic.documents.template import ImageSlot, Order, caption_lines, concept_lines, of_recipe, region_lines
from mmgic.documents.writing import DocumentMaker, Writing
from mmgic.schema import (
    KEPT,
    Document,
    Interleaved,
    Part,
    TokenizedImage,
    TokenizedPair,
    UnfitDocument,
    record_generator,
)
from mmgic.stages.sampling import RowSample

# what a curriculum calls them: Table 6 compares fine-tuning with and without playback
PLAYBACK, AESTHETIC = "playback", "aesthetic"


@dataclass(frozen=True)
class MakePlayback(DocumentMaker[TokenizedImage]):
    """TOKENIZED_IMAGE row -> DOCUMENT row: half of the sample image-first, half text-first, others `not_sampled`."""

    used = ("recipe", "max_tokens", "description_dropout", "system_prompt")
    descriptions: str  # JSON lines; "" for none
    sample: RowSample

    def __call__(self, row: TokenizedImage) -> Document | UnfitDocument:
        group = self.sample.group(row["row_id"])
        if group is None:
            return rejected_document(key_columns(row, 0, PLAYBACK, ""), "not_sampled", "")
        descriptions = read_descriptions(self.descriptions).of(row["source"])
        return play_back(row, "text_first" if group else "image_first", self.writing, descriptions)


@dataclass(frozen=True)
class MakeAesthetic(DocumentMaker[TokenizedPair]):
    """TOKENIZED_PAIR row -> DOCUMENT row: half of the sample captioning, half generation, others `not_sampled`."""

    used = ("max_tokens", "system_prompt")
    sample: RowSample

    def __call__(self, row: TokenizedPair) -> Document | UnfitDocument:
        group = self.sample.group(row["row_id"])
        if group is None:
            return rejected_document(key_columns(row, 0, AESTHETIC, ""), "not_sampled", "")
        task = "text_to_image" if group else "image_caption"
        caption = row["caption_coco"].strip() or row["caption_capsfusion"].strip() or row["caption_origin"].strip()
        if not caption:
            return rejected_document(key_columns(row, 0, AESTHETIC, task), "no_caption", "the image has no caption")
        image: Part = {"text": "", "image": 0}
        words: Part = {"text": caption, "image": -1}
        asked, answered = (words, image) if group else (image, words)
        one_round: Interleaved = {
            "row_id": row["row_id"],
            "source": row["source"],
            "image_id": row["image_id"],
            "task": task,
            "images": [{"url": row["url"], "image_path": row["image_path"], "codes": row["codes"]}],
            "rounds": [{"instruction": [asked], "response": [answered]}],
            "drops": row["drops"],
            **KEPT,
        }
        return build_rounds_document(one_round, self.writing, corpus=AESTHETIC)


def play_back(
    row: TokenizedImage, order: Order, writing: Writing, descriptions: Descriptions
) -> Document | UnfitDocument:
    """The `schema.DOCUMENT` row of a `schema.TOKENIZED_IMAGE` row as rounds (the last two rows of Table 16).

    The first round holds the image with its captions and concepts, each further one a region; what `order` puts last is
    the response. Regions are shuffled, and those that do not fit into `settings.max_tokens` are left out. Descriptions
    are dropped by F.7's draw, and where the first round is too long with them; a row that is too long without them is
    rejected. The draws come from `record_generator(writing.seed, "playback", source, image_id)`.
    """
    settings = writing.settings
    row = of_recipe(row, settings.recipe)
    generator = record_generator(writing.seed, "playback", row["source"], row["image_id"])
    drops_descriptions = generator.random() < settings.description_dropout
    shuffled = generator.permutation(len(row["regions"])).tolist() if "R" in settings.recipe else []
    key = key_columns(row, 0, PLAYBACK, order)
    images = [row["codes"], *(region["codes"] for region in row["regions"])]
    if len(images[0]) == 0:
        return rejected_document(key, "no_visual_tokens", "the image has no visual tokens")

    placed = [i for i in shuffled if len(images[1 + i])]
    regions = [_round(1 + i, "\n".join(region_lines(row["regions"][i])), order, None) for i in placed]
    describes = "D" in settings.recipe and not drops_descriptions and has_description(row, descriptions)
    for form in [descriptions, None] if describes else [None]:
        text = "\n".join(_lines(row, order, form))
        if not text:
            return rejected_document(key, "no_caption", "the image has neither a caption nor a concept")
        rounds = [_round(0, text, order, settings.system_prompt), *regions]
        document = fit_rounds(rounds, images, writing, independent=True)
        if document is not None:
            fitted = len(document["answer_spans"]) - 1
            return kept_document(
                key, writing.vocabulary, **document, with_descriptions=form is not None, num_regions=fitted
            )
    return rejected_document(key, "too_long", f"the image and its text exceed {settings.max_tokens} tokens")


def _lines(row: TokenizedImage, order: Order, descriptions: Descriptions | None) -> list[str]:
    """The lines of F.6's image part; the caption stands next to the image in both orders."""
    captions, concepts = caption_lines(row), concept_lines(row, descriptions)
    return [*captions, *concepts] if order == "image_first" else [*concepts, *captions]


def _round(image: int, text: str, order: Order, system_prompt: str | None) -> Round:
    asked, answered = (ImageSlot(image), text) if order == "image_first" else (text, ImageSlot(image))
    return Round(framed([asked], system_prompt), responded([answered]))
