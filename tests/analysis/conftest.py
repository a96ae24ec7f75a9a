"""A small run folder, written as the stages and the training write theirs."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from mmgic import schema
from mmgic.evaluation.benchmark import Score
from mmgic.evaluation.results import (
    ITEMS_FILE,
    AskedItem,
    BenchmarkResult,
    PartResult,
    Results,
    write_items,
    write_results,
)
from mmgic.settings import Settings, ToySettings
from mmgic.stages import tables
from mmgic.stages.lifecycle import claim

HOSTILE = "<script>alert('label')</script>"


def empty_row(table_schema):
    kinds = {pa.string(): "", pa.bool_(): True}
    return {field.name: kinds.get(field.type, [] if pa.types.is_list(field.type) else 0) for field in table_schema}


def write_table(run: Path, name: str, table_schema: pa.Schema, rows: list[dict], made_from: str = "") -> str:
    """Writes the table of the stage `name`, made from the table of this fingerprint; returns its own."""
    folder = run / name
    folder.mkdir(parents=True)
    full = [{**empty_row(table_schema), **row} for row in rows]
    pyarrow.parquet.write_table(pa.Table.from_pylist(full, schema=table_schema), folder / "part-0.parquet")
    counts = tables.count(tables.open_table(str(folder)))
    fingerprint = claim(str(folder), name, {}, made_from)
    tables.write_manifest(str(folder), tables.Manifest(name, fingerprint, len(rows), **counts, seconds=1.5))
    return fingerprint


@pytest.fixture
def run_folder(tmp_path) -> tuple[Path, Settings]:
    image = tmp_path / "a.png"
    Image.new("RGB", (90, 60), "teal").save(image)
    region = {"x": 0.25, "y": 0.5, "side": 0.5, "location": "Center", "labels": ["dog", HOSTILE], "codes": [1, 2]}
    shown = {"image_path": str(image), "caption": "a dog", "regions": [region, region], "codes": [3, 4, 5]}
    thing = {"object_id": "1", "label": "dog", "synset": "", "x": 0.0, "y": 0.0, "w": 9.0, "h": 9.0}
    found = [
        {"row_id": i, "source": source, "objects": [thing], "regions": [region]}
        for i, source in ((1, "vg"), (2, "coco"))
    ]
    regions = write_table(tmp_path, "mmgic/regions", schema.IMAGE_WITH_REGIONS, found)
    tokens = write_table(
        tmp_path,
        "mmgic/tokens",
        schema.TOKENIZED_IMAGE,
        [
            {"row_id": 1, "source": "vg", "image_id": "1", **shown},
            {
                "row_id": 2,
                "source": "coco",
                "image_id": "2",
                **shown,
                "drops": [{"reason": "attribute_rare", "count": 3}],
            },
            {"row_id": 3, "source": "coco", "image_id": "3", "keep": False, "reason": "image_missing"},
        ],
        made_from=regions,
    )
    for repeat in range(2):
        document = {"repeat": repeat, "template": "image_first", "text": f"Image: [IMG]\nObjects:\n- {HOSTILE}"}
        write_table(
            tmp_path,
            f"mmgic/documents/CLDR/repeat_{repeat}",
            schema.DOCUMENT,
            [
                {"row_id": 1, "source": "vg", **document, "num_visual_tokens": 10, "num_text_tokens": 30},
                {"row_id": 2, "source": "coco", **document, "num_visual_tokens": 1, "num_text_tokens": 2},
                {"row_id": 4, "source": "coco", "num_visual_tokens": 99, "keep": False, "reason": "too_long"},
            ],
            made_from=tokens,
        )
    training = tmp_path / "training" / "pretrain"
    training.mkdir(parents=True)
    steps = [
        {"step": i, "loss": 4 - i / 10, "visual_loss": 9 - i / 10, "text_loss": 3 - i / 10}
        | {"learning_rate": 1e-3, "seconds": 6.0, "tokens_per_second": 1000.0, "data_wait": 0.1}
        for i in range(20)
    ]
    (training / "metrics.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps))
    for name, cider, f1 in (("untrained", 0.1, 0.0), ("other_image", 0.2, 0.5), ("trained", 0.8525, 0.75)):
        write_evaluation(tmp_path / "evaluation" / name, image, name, cider, f1)
    return tmp_path, Settings(preset="toy", toy=ToySettings(scenes=2))


def write_evaluation(folder: Path, image: Path, name: str, cider: float, f1: float) -> None:
    folder.mkdir(parents=True)
    captions = {"CIDEr": Score(cider, "x100"), "references": Score(5, "count")}
    answers = {"F1": Score(f1, "%"), "unreadable": Score(3, "count"), "recall": Score(1, "%")}
    always = {"Yes": {"F1": Score(2 / 3, "%"), "unreadable": Score(0, "count"), "recall": Score(1, "%")}}
    found = (
        ("coco_captions", "COCO captions", ("CIDEr",), captions, {}),
        ("pope", "POPE", ("F1", "unreadable"), answers, always),
    )
    benchmarks = tuple(
        BenchmarkResult(key, title, headline, ("a.json",), (PartResult("", "p.json", 1, 1, own, const),), own, const)
        for key, title, headline, own, const in found
    )
    write_results(folder, Results("model", None, "transformers", "mmgic", "toy", 0, "tokenizer", benchmarks))
    said = f"{name} says {HOSTILE}"
    items = [
        AskedItem("coco_captions", "", 1, "", [str(image)], ["a teal dog"], said, {}),
        AskedItem("pope", "", 1, "Is there a dog?", [str(image)], ["yes"], "Yes", {"Yes": -0.1, "No": -2.0}),
        AskedItem("pope", "", 2, "A second question about one image?", [str(image)], ["no"], "Yes", {}),
    ]
    write_items(folder / ITEMS_FILE, items)
