"""The `schema.DOCUMENT` rows that the builders of documents return, and the tables that hold them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mmgic.model.vocabulary import VLVocabulary
from mmgic.schema import KEPT, reject
from mmgic.stages.tables import Table, open_table


def key_columns(row: Mapping[str, Any], repeat: int, corpus: str, template: str) -> dict[str, Any]:
    """The columns that say which document of which image a row is."""
    return {
        **{name: row[name] for name in ("row_id", "source", "image_id")},
        "repeat": repeat,
        "corpus": corpus,
        "template": template,
        "drops": row["drops"],
    }


def kept_document(
    key: Mapping[str, Any],
    vocabulary: VLVocabulary,
    *,
    text: str,
    input_ids: list[int],
    with_descriptions: bool = False,
    num_regions: int = 0,
    answer_spans: Sequence[Sequence[int]] = (),
) -> dict[str, Any]:
    num_codes = int((np.asarray(input_ids) >= vocabulary.first_code).sum())
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


def rejected_document(key: Mapping[str, Any], reason: str, detail: str) -> dict[str, Any]:
    return {
        **key,
        "with_descriptions": False,
        "text": "",
        "input_ids": [],
        "answer_spans": [],
        "num_visual_tokens": 0,
        "num_text_tokens": 0,
        "num_regions": 0,
        **reject(reason, detail),
    }


def document_tables(tables: Iterable[Table]) -> list[Table]:
    """Those of `tables` whose rows are documents."""
    return [table for table in tables if "input_ids" in open_table(table.folder).schema.names]
