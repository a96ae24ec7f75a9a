"""Instruction documents out of the pre-training corpora (H.1): MMGIC in both orders, and LAION-COCO-Aesthetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmgic.descriptions.reading import Descriptions, read_descriptions
from mmgic.documents.columns import kept_document, key_columns, rejected_document
from mmgic.documents.make import load_tokenizer
from mmgic.documents.multi_grained import has_description
from mmgic.documents.rounds import build_rounds_document, fit_rounds
from mmgic.documents.tasks import Round, framed, responded
from mmgic.documents.template import ImageSlot, Order, caption_lines, concept_lines, region_lines
from mmgic.model.vocabulary import VLVocabulary
from mmgic.schema import record_generator
from mmgic.settings import DocumentSettings, Recipe
from mmgic.stages.rows import Row
from mmgic.stages.sampling import RowSample

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CORPUS = "sft"


@dataclass(frozen=True)
class MakePlayback:
    """TOKENIZED_IMAGE row -> DOCUMENT row: half of the sample image-first, half text-first, others `not_sampled`."""

    llm: str  # folder with the text tokenizer
    descriptions: str  # JSON lines; "" for none
    vocabulary: VLVocabulary
    settings: DocumentSettings
    sample: RowSample
    seed: int

    def __call__(self, row: Row) -> Row:
        group = self.sample.group(row["row_id"])
        order: Order = "text_first" if group else "image_first"
        if group is None:
            return rejected_document(key_columns(row, 0, CORPUS, ""), "not_sampled", "")
        return build_playback(
            row,
            order,
            descriptions=read_descriptions(self.descriptions).of(row["source"]),
            tokenizer=load_tokenizer(self.llm),
            vocabulary=self.vocabulary,
            settings=self.settings,
            seed=self.seed,
        )


@dataclass(frozen=True)
class MakeAesthetic:
    """TOKENIZED_PAIR row -> DOCUMENT row: half of the sample captioning, half generation, others `not_sampled`."""

    llm: str  # folder with the text tokenizer
    vocabulary: VLVocabulary
    settings: DocumentSettings
    sample: RowSample
    seed: int

    def __call__(self, row: Row) -> Row:
        group = self.sample.group(row["row_id"])
        if group is None:
            return rejected_document({**key_columns(row, 0, CORPUS, "")}, "not_sampled", "")
        caption = row["caption_coco"].strip() or row["caption_capsfusion"].strip() or row["caption_origin"].strip()
        task = "text_to_image" if group else "image_caption"
        image, words = {"text": "", "image": 0}, {"text": caption, "image": -1}
        asked, answered = (words, image) if group else (image, words)
        rounds = [{"instruction": [asked], "response": [answered]}] if caption else []
        if not rounds:
            return rejected_document(key_columns(row, 0, CORPUS, task), "no_caption", "the image has no caption")
        return build_rounds_document(
            {**row, "task": task, "images": [{"codes": row["codes"]}], "rounds": rounds},
            tokenizer=load_tokenizer(self.llm),
            vocabulary=self.vocabulary,
            settings=self.settings,
            corpus=CORPUS,
            seed=self.seed,
        )


def build_playback(
    row: Mapping[str, Any],
    order: Order,
    *,
    descriptions: Descriptions,
    tokenizer: PreTrainedTokenizerBase,
    vocabulary: VLVocabulary,
    settings: DocumentSettings,
    seed: int,
) -> dict[str, Any]:
    """The `schema.DOCUMENT` row of a `schema.TOKENIZED_IMAGE` row as rounds (the last two rows of Table 16).

    The first round holds the image with its captions and concepts, each further one a region; what `order` puts last is
    the response. Regions are shuffled, and those that do not fit into `settings.max_tokens` are left out. Descriptions
    are dropped by F.7's draw, and where the first round is too long with them; a row that is too long without them is
    rejected. The draws come from `record_generator(seed, "playback", source, image_id)`.
    """
    generator = record_generator(seed, "playback", row["source"], row["image_id"])
    drops_descriptions = generator.random() < settings.description_dropout
    shuffled = generator.permutation(len(row["regions"])).tolist() if "R" in settings.recipe else []
    key = key_columns(row, 0, CORPUS, order)
    images = [row["codes"], *(region["codes"] for region in row["regions"])]
    if len(images[0]) == 0:
        return rejected_document(key, "no_visual_tokens", "the image has no visual tokens")

    placed = [i for i in shuffled if len(images[1 + i])]
    regions = [_round(1 + i, "\n".join(region_lines(row["regions"][i])), order, None) for i in placed]
    describes = "D" in settings.recipe and not drops_descriptions and has_description(row, descriptions)
    for form in [descriptions, None] if describes else [None]:
        text = "\n".join(_lines(row, order, settings.recipe, form))
        if not text:
            return rejected_document(key, "no_caption", "the image has neither a caption nor a concept")
        rounds = [_round(0, text, order, settings.system_prompt), *regions]
        document = fit_rounds(rounds, images, tokenizer, vocabulary, settings.max_tokens, independent=True)
        if document is not None:
            fitted = len(document["answer_spans"]) - 1
            return kept_document(key, vocabulary, **document, with_descriptions=form is not None, num_regions=fitted)
    return rejected_document(key, "too_long", f"the image and its text exceed {settings.max_tokens} tokens")


def _lines(row: Mapping[str, Any], order: Order, recipe: Recipe, descriptions: Descriptions | None) -> list[str]:
    """The lines of F.6's image part; the caption stands next to the image in both orders."""
    captions = caption_lines(row) if "C" in recipe else []
    concepts = concept_lines(row, descriptions) if "L" in recipe else []
    return [*captions, *concepts] if order == "image_first" else [*concepts, *captions]


def _round(image: int, text: str, order: Order, system_prompt: str | None) -> Round:
    asked, answered = (ImageSlot(image), text) if order == "image_first" else (text, ImageSlot(image))
    return Round(framed([asked], system_prompt), responded([answered]))
