"""The `schema.DOCUMENT` rows that the builders of documents return."""

from __future__ import annotations

from collections.abc import Sequence

from mmgic.model.vocabulary import VLVocabulary
from mmgic.schema import KEPT, AnyRow, Document, DocumentKey, UnfitDocument, reject


def key_columns(row: AnyRow, repeat: int, corpus: str, template: str) -> DocumentKey:
    """The columns that say which document of which record a row is."""
    return {
        "row_id": row["row_id"],
        "source": row["source"],
        "image_id": row["image_id"],
        "repeat": repeat,
        "corpus": corpus,
        "template": template,
        "drops": row["drops"],
    }


def kept_document(
    key: DocumentKey,
    vocabulary: VLVocabulary,
    *,
    text: str,
    input_ids: list[int],
    with_descriptions: bool = False,
    num_regions: int = 0,
    answer_spans: Sequence[Sequence[int]] = (),
) -> Document:
    num_codes = sum(map(vocabulary.first_code.__le__, input_ids))
    return {
        **key,
        "with_descriptions": with_descriptions,
        "text": text,
        "input_ids": input_ids,
        "answer_spans": [list(span) for span in answer_spans],
        "num_visual_tokens": num_codes,
        "num_text_tokens": len(input_ids) - num_codes,
        "num_regions": num_regions,
        **KEPT,
    }


def rejected_document(key: DocumentKey, reason: str, detail: str) -> UnfitDocument:
    return {**key, **reject(reason, detail)}
