"""Tables 13 to 15 and Figures 12 and 13, against counts made by hand."""

import dataclasses
import json
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmgic import schema
from mmgic.analysis.frequency import POINTS, curve
from mmgic.analysis.phrases import FREQUENCIES, frequencies, read_frequencies
from mmgic.analysis.statistics import (
    ComparedCount,
    DetectionCount,
    InstructionCount,
    TokenCount,
    statistics,
)
from mmgic.analysis.statistics_figures import statistics_figures
from mmgic.analysis.statistics_tables import statistics_text
from mmgic.cli import main
from mmgic.errors import InputError
from mmgic.files import write_text
from mmgic.schema import KEPT, reject
from mmgic.settings import PhraseSettings
from mmgic.stages import tables
from mmgic.stages.rows import blank_row, to_table


def make_table(run: Path, name: str, table_schema: pa.Schema, rows: list[dict]) -> None:
    full = [blank_row(table_schema) | {"row_id": i, "image_id": str(i), **KEPT, **row} for i, row in enumerate(rows)]
    tables.write_part(f"{run}/{name}/part-0.parquet", to_table(full[:2], table_schema))
    tables.write_part(f"{run}/{name}/part-1.parquet", to_table(full[2:], table_schema))
    counts = tables.count(tables.open_table(f"{run}/{name}"))
    tables.write_manifest(f"{run}/{name}", tables.Manifest(name, "", len(rows), **counts, seconds=0.0))


def image(source: str, objects: list[str], attributes: list[str], regions: int, **verdict: object) -> dict:
    return {
        "source": source,
        "objects": [
            {"object_id": str(i), "label": label, "synset": "", "x": 0.0, "y": 0.0, "w": 9.0, "h": 9.0}
            for i, label in enumerate(objects)
        ],
        "attributes": [{"object_id": "0", "label": label} for label in attributes],
        "regions": [{"x": 0.0, "y": 0.0, "side": 0.5, "location": "Top Left", "labels": [], "codes": []}] * regions,
        **verdict,
    }


def document(source: str, template: str, visual: int, text: int, regions: int = 0, **verdict: object) -> dict:
    numbers = {"num_visual_tokens": visual, "num_text_tokens": text, "num_regions": regions}
    return {"source": source, "template": template, **numbers, **verdict}


PAPER_ROWS = ("detection", "instructions", "instruction_tokens", "corpora")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    lines = [
        {"kind": "object", "label": "dog", "description": "a pet"},
        {"kind": "object", "label": "dog", "description": "a hound", "source": "vg"},
    ]
    (tmp_path / "descriptions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = tmp_path / "run"
    sources = [{"name": "blip", "format": "blip_captions"}, {"name": "laion", "format": "laion_coco_aesthetic"}]
    settings = {"descriptions": f"{tmp_path}/descriptions.jsonl", "sources": sources}
    write_text(f"{run}/settings.yaml", yaml.safe_dump(settings))
    cleaned = image("vg", ["never counted"] * 9, [], 0)
    del cleaned["regions"]
    make_table(run, "mmgic/cleaned", schema.ANNOTATED_IMAGE, [cleaned])
    images = [
        image("vg", ["dog", "dog", "cat"], ["red"], 2),
        image("vg", ["dog"], ["red", "cat"], 1),
        image("v3det", ["dog"] * 4, [], 4),
        image("v3det", ["lost"], [], 9, **reject("no_objects")),
    ]
    make_table(run, "mmgic/regions", schema.IMAGE_WITH_REGIONS, images)
    for repeat in range(2):
        documents = [
            document("vg", "image_first", 10 + repeat, 5, 1),
            document("v3det", "text_first", 7, 3, 2),
            document("vg", "image_first", 99, 99, 9, **reject("too_long")),
        ]
        make_table(run, f"mmgic/documents/CLDR/repeat_{repeat}", schema.DOCUMENT, documents[repeat:])
    make_table(
        run,
        "sft/annotations",
        schema.INTERLEAVED,
        [
            {"source": "vqav2", "task": "open_vqa"},
            {"source": "gqa", "task": "open_vqa"},
            {"source": "vqav2", "task": "open_vqa"},
            {"source": "alpaca", "task": "text_only"},
            {"source": "alpaca", "task": "text_only", **reject("bad_record")},
        ],
    )
    sft = [
        document("vqav2", "open_vqa", 50, 20),
        document("gqa", "image_caption", 5, 2),
        document("alpaca", "text_only", 0, 30),
    ]
    make_table(run, "sft/documents", schema.DOCUMENT, sft)
    make_table(run, "sft/playback/CLDR", schema.DOCUMENT, [document("vg", "text_first", 8, 4, 1)])
    pairs = [{"source": source} for source in ("blip", "laion", "blip", "laion", "blip")]
    pairs.append({"source": "blip", **reject("no_caption")})
    make_table(run, "ic/annotations", schema.CAPTIONED_IMAGE, pairs)
    make_table(run, "ic/images", schema.CAPTIONED_IMAGE, pairs[1:4])
    before, after = np.array([9, 1, 4, 1]), np.array([4, 4])
    found = frequencies(before, after, PhraseSettings(min_count=4, captions_per_phrase=4))
    write_text(f"{run}/ic/selected/{FREQUENCIES}", found.to_json())
    return run


def test_tables_and_figures_are_those_counted_by_hand(run: Path) -> None:
    found = statistics(run)
    assert found.collected == (
        ComparedCount("MMGIC: images", 3, "3.5M"),
        ComparedCount("MMGIC: object regions in documents", 5, "23.9M"),
        # a dog in each of the three images, however often; nothing else is described
        ComparedCount("MMGIC: label-description pairs", 3, "61.8M"),
        ComparedCount("IC: general pairs collected", 3, "229M"),
        ComparedCount("IC: aesthetic pairs collected", 2, "12M"),
        ComparedCount("IC: general pairs selected and downloaded", 1, "40M"),
    )
    # vg: the objects dog ("a hound") and cat, the attributes red and cat; v3det: dog ("a pet")
    assert found.detection == (
        DetectionCount("v3det", 4, 1, 1, 14, 6, 4, 2),
        DetectionCount("vg", 3, 2, 4, 10, 5, 1, 1),
        DetectionCount("MMGIC", 7, 3, 5, 24, 11, 5, 3),
    )
    assert found.instructions == (
        InstructionCount("Multimodal understanding", "open_vqa", "gqa", 1),
        InstructionCount("Multimodal understanding", "open_vqa", "vqav2", 2),
        InstructionCount("Text-only", "text_only", "alpaca", 1),
        InstructionCount("MMGIC playback", "text_first", "vg", 1),
    )
    assert found.instruction_tokens == (
        TokenCount("Multimodal understanding", 55, 22, 2),
        TokenCount("Text-only", 0, 30, 1),
        TokenCount("MMGIC playback", 8, 4, 1),
        TokenCount("Total", 63, 56, 4),
    )
    assert found.corpora == (TokenCount("mmgic", 24, 11, 3), TokenCount("sft", 63, 56, 4))
    objects = found.labels["objects"]
    assert (objects.ranks, objects.counts, objects.rare_share) == ((1, 2), (7, 1), 0.5)
    assert found.labels["attributes"].counts == (2, 1)
    assert list(found.labels) == ["objects", "attributes"]
    assert found.phrases is not None
    assert found.phrases.before.counts == (9, 4, 1, 1)
    assert (found.phrases.after.distinct, found.phrases.after.frequent) == (2, 2)


def test_command_writes_text_json_and_plots(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", str(run)]) == 0
    text = capsys.readouterr().out
    lines = [line.split() for line in text.splitlines()]
    assert ["vg", "3", "2", "4", "10", "5", "1", "1"] in lines
    assert ["v3det", "4", "1", "1", "14", "6", "4", "2"] in lines
    assert "  in the paper    1.18M   0.18M    12,976          0.26B        0.21B         2.30M    0.53M" in text
    assert ["MMGIC:", "label-description", "pairs", "3", "61.8M"] in lines
    assert ["attributes", "2", "3", "100.0%", "1.5%"] in lines
    paper = lines.index(["Multimodal", "understanding", "open_vqa", "in", "the", "paper", "0.24M"])
    assert lines[paper - 1] == ["Multimodal", "understanding", "open_vqa", "vqav2", "2"]
    assert "before             4" in text
    saved = json.loads((run / "stats/stats.json").read_text())
    rows = {row["source"]: row["paper"] for row in saved["detection"]}
    assert rows["v3det"] | {"concepts": "12,976", "visual_tokens": "0.26B", "samples": "0.53M"} == rows["v3det"]
    assert len(rows["v3det"]) == 7
    assert rows["vg"] == {}  # no name of the paper's presets
    assert {row["task"]: row["paper"] for row in saved["instructions"]}["open_vqa"] == {"samples_of_task": "0.24M"}
    tokens = {row["name"]: row["paper"] for row in saved["instruction_tokens"]}
    assert tokens["Total"] == {"visual_tokens": "821M", "text_tokens": "1038.8M", "samples": "3.21M"}
    assert saved["labels"]["attributes"].pop("paper") == {"rare_share": "1.5%"}
    for part in (*(row for name in PAPER_ROWS for row in saved[name]), *saved["labels"].values()):
        part.pop("paper", None)
    assert saved == json.loads(json.dumps(dataclasses.asdict(statistics(run))))
    for name in ("label_frequencies", "noun_phrases"):
        with Image.open(run / f"stats/{name}.png") as picture:
            assert picture.width > 500
        assert (run / f"stats/{name}.svg").read_text().startswith("<svg")


def test_command_reads_a_run_in_any_store(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fsspec.filesystem("memory").put(str(run), "/stats_run", recursive=True)
    assert main(["stats", "memory://stats_run"]) == 0
    text = capsys.readouterr().out
    assert "give --output DIR for stats.json and plots" in text
    assert statistics_text(statistics(run)) in text
    assert main(["stats", "memory://stats_run", "--output", str(tmp_path / "plots")]) == 0
    assert main(["stats", str(run)]) == 0
    assert (tmp_path / "plots/stats.json").read_text() == (run / "stats/stats.json").read_text()


def test_figures_are_the_same_every_time_and_name_their_totals(run: Path) -> None:
    figures = statistics_figures(statistics(run))
    assert figures == statistics_figures(statistics(run))
    assert list(figures) == ["label frequencies", "noun phrases"]
    assert "objects: 2, 50.0% below 5" in figures["label frequencies"]


def test_empty_parts_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no finished table"):
        statistics(tmp_path)
    make_table(tmp_path, "ic/documents", schema.DOCUMENT, [document("blip", "image_first", 4, 2)] * 3)
    found = statistics(tmp_path)
    assert found.corpora == (TokenCount("ic", 12, 6, 3),)
    assert (found.detection, found.instructions, found.labels, found.phrases) == ((), (), {}, None)
    assert found.collected == (ComparedCount("IC: images in documents", 3, "52M"),)
    assert "Documents of all corpora" in statistics_text(found).splitlines()
    assert statistics_figures(found) == {}


@given(st.lists(st.integers(1, 1000), max_size=2000), st.integers(1, 50))
def test_curves_keep_ends_order_and_counts(counts: list[int], limit: int) -> None:
    found = curve(np.array(counts), limit)
    assert (found.distinct, found.occurrences) == (len(counts), sum(counts))
    assert found.frequent == sum(count >= limit for count in counts)
    assert len(found.ranks) <= POINTS
    if counts:
        assert (found.ranks[0], found.ranks[-1]) == (1, len(counts))
        assert (found.counts[0], found.counts[-1]) == (max(counts), min(counts))
        ordered = sorted(counts, reverse=True)
        assert all(ordered[rank - 1] == count for rank, count in zip(found.ranks, found.counts, strict=True))


def test_phrase_frequencies_are_read_back_or_refused() -> None:
    found = frequencies(np.array([3, 2]), np.array([2]), PhraseSettings())
    assert read_frequencies(found.to_json()) == found
    for text in ("", "[]", '{"before": {}}'):
        with pytest.raises(InputError, match="holds no phrase frequencies"):
            read_frequencies(text)


def test_documents_of_another_recipe_are_counted_by_themselves(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_table(run, "mmgic/documents/C/repeat_0", schema.DOCUMENT, [document("vg", "image_first", 100, 1)] * 2)
    make_table(run, "mmgic/documents-short/CLDR/repeat_0", schema.DOCUMENT, [document("vg", "image_first", 1000, 1)])
    assert statistics(run).corpora[0] == TokenCount("mmgic", 24, 11, 3)
    for flags, visual in ((["--recipe", "C"], "200"), (["--name", "short"], "1,000"), ([], "24")):
        assert main(["stats", str(run), *flags]) == 0
        rows = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert next(row for row in rows if row[:1] == ["mmgic"])[1] == visual
    with (run / "settings.yaml").open("a") as settings:
        settings.write("documents: {recipe: C}\n")
    assert statistics(run).corpora[0] == TokenCount("mmgic", 200, 2, 2)
