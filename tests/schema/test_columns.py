"""The tables' columns: the Arrow schemas are those of the row types, name by name and type by type."""

from typing import get_type_hints, is_typeddict

import pyarrow as pa
import pytest

from mmgic import schema
from mmgic.schema import arrow_schema, columns
from mmgic.stages.rows import ColumnFault, blank_row, to_table

TEXT, LIST = "string", "list<element: {}>"
KEY = {"row_id": "int64", "source": "string", "image_id": "string"}
VERDICT = {"keep": "bool", "reason": "string", "detail": "string"}
OBJECT = {"object_id": "string", "label": "string", "synset": "string", **dict.fromkeys("xywh", "double")}
CANDIDATE = {"caption": "string", "score": "float", "round": "int32"}
REGION = {**dict.fromkeys(("x", "y", "side"), "double"), "location": "string", "labels": ["string"], "codes": ["int32"]}
PART = {"text": "string", "image": "int32"}
DROPS = [{"reason": "string", "count": "int64"}]
IMAGE = {
    **{"image_path": "string", "width": "int32", "height": "int32", "caption": "string", "narrative": "string"},
    "candidates": [CANDIDATE],
    "objects": [OBJECT],
    "attributes": [{"object_id": "string", "label": "string"}],
    "relationships": [{"subject_id": "string", "label": "string", "object_id": "string"}],
}
PAIR = {
    **{"url": "string", "image_path": "string", "width": "int32", "height": "int32"},
    **dict.fromkeys(("caption_origin", "caption_coco", "caption_capsfusion"), "string"),
    "candidates": [CANDIDATE],
}
# the tables as they are on disk: a change here is a change of every table that users have
TABLES = {
    "ANNOTATED_IMAGE": {**KEY, **IMAGE, "drops": DROPS, **VERDICT},
    "IMAGE_WITH_REGIONS": {**KEY, **IMAGE, "regions": [REGION], "drops": DROPS, **VERDICT},
    "TOKENIZED_IMAGE": {**KEY, **IMAGE, "regions": [REGION], "codes": ["int32"], "drops": DROPS, **VERDICT},
    "CAPTIONED_IMAGE": {**KEY, **PAIR, "drops": DROPS, **VERDICT},
    "PHRASES": {**KEY, **PAIR, "drops": DROPS, **VERDICT, "phrases": ["string"], "phrase_ids": ["uint64"]},
    "TOKENIZED_PAIR": {**KEY, **PAIR, "codes": ["int32"], "drops": DROPS, **VERDICT},
    "INTERLEAVED": {
        **KEY,
        "task": "string",
        "images": [{"url": "string", "image_path": "string", "codes": ["int32"]}],
        "rounds": [{"instruction": [PART], "response": [PART]}],
        "drops": DROPS,
        **VERDICT,
    },
    "DOCUMENT": {
        **KEY,
        **{"repeat": "int32", "corpus": "string", "template": "string", "with_descriptions": "bool", "text": "string"},
        "input_ids": ["int32"],
        "answer_spans": [("int32", 2)],
        **dict.fromkeys(("num_visual_tokens", "num_text_tokens", "num_regions"), "int32"),
        "drops": DROPS,
        **VERDICT,
    },
}
ROW_TYPES = {
    "ANNOTATED_IMAGE": columns.AnnotatedImage,
    "IMAGE_WITH_REGIONS": columns.ImageWithRegions,
    "TOKENIZED_IMAGE": columns.TokenizedImage,
    "CAPTIONED_IMAGE": columns.CaptionedImage,
    "PHRASES": columns.CaptionPhrases,
    "TOKENIZED_PAIR": columns.TokenizedPair,
    "INTERLEAVED": columns.Interleaved,
    "DOCUMENT": columns.Document,
}


def described(kind: pa.DataType) -> object:
    if pa.types.is_struct(kind):
        return {field.name: described(field.type) for field in kind}
    if pa.types.is_fixed_size_list(kind):
        return (described(kind.value_type), kind.list_size)
    return [described(kind.value_type)] if pa.types.is_list(kind) else str(kind)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_has_the_columns_of_its_rows(name: str) -> None:
    table, row = getattr(schema, name), ROW_TYPES[name]
    expected = TABLES[name]
    assert {field.name: described(field.type) for field in table} == expected
    assert set(table.names) == set(get_type_hints(row)) == row.__required_keys__
    assert table == arrow_schema(row)
    first = [*KEY, *list(expected)[3:]]
    assert sorted(table.names) == sorted(first)
    assert table.names[:3] == list(KEY)
    assert all(is_typeddict(kind) for kind in ROW_TYPES.values())


def test_blank_values_are_only_for_rows_that_were_set_aside() -> None:
    kept = {**blank_row(schema.DOCUMENT), **schema.KEPT, "source": "vg", "image_id": "7", "num_visual_tokens": 3}
    assert to_table([kept], schema.DOCUMENT, "mmgic/documents").to_pylist() == [kept]
    misspelt = {("num_visual_token" if name == "num_visual_tokens" else name): v for name, v in kept.items()}
    with pytest.raises(ColumnFault, match=r"stage 'mmgic/documents': .*vg:7 lacks the column 'num_visual_tokens'"):
        to_table([kept, misspelt], schema.DOCUMENT, "mmgic/documents")
    with pytest.raises(ColumnFault, match=r"stage 'x': .*vg:7 has a column 'num_visual_token' that its table has not"):
        to_table([{**kept, "num_visual_token": 3}], schema.DOCUMENT, "x")

    aside = (
        {name: kept[name] for name in KEY} | schema.reject("too_long", "900 tokens") | {"objects": [1], "text": None}
    )
    assert to_table([aside], schema.DOCUMENT).to_pylist() == [
        {**blank_row(schema.DOCUMENT), **{name: kept[name] for name in KEY}, **schema.reject("too_long", "900 tokens")}
    ]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("caption", None),
        ("objects", [{"object_id": "1", "labl": "dog", "synset": "", "x": 0.0, "y": 0.0, "w": 1.0, "h": 1.0}]),
        ("objects", [None]),
        ("drops", [{"reason": "object_bad_box"}]),
    ],
)
def test_a_kept_row_has_a_value_in_every_column_and_every_part_of_one(column: str, value: object) -> None:
    row = {**blank_row(schema.ANNOTATED_IMAGE), **schema.KEPT, "source": "vg", "image_id": "7"}
    with pytest.raises(ValueError, match=rf"the column '{column}' of vg:7 has no value"):
        to_table([row, {**row, column: value}], schema.ANNOTATED_IMAGE)
