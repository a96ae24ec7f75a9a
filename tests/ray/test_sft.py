"""All instruction data of Table 14 from the toy world's files to documents, with playback, without a network."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from mmgic import schema
from mmgic.model.assemble import vocabulary_of
from mmgic.pipelines.playback import build_playback
from mmgic.pipelines.sft import build_sft
from mmgic.presets import preset
from mmgic.settings import Settings, SourceSettings, merge
from mmgic.sources.captions.pairs import captioned_image
from mmgic.sources.rows import annotated_image
from mmgic.stages import tables
from mmgic.stages.digest import digest
from mmgic.stages.rows import to_table
from mmgic.stages.tables import Manifest, Table
from mmgic.toy.datasets.instructions import DATASETS, write_instructions
from mmgic.toy.datasets.samples import World

FORMATS = {"llava_mix": "llava", "llavar": "llava", "sharegpt4v": "llava"}
PLAYED = 20
pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    output = tmp_path_factory.mktemp("sft")
    write_instructions(output, World(0), range(5_000_000, 5_000_012))
    sources = [
        SourceSettings(
            name=name,
            format=FORMATS.get(name, name),  # type: ignore[arg-type]
            path=f"{output}/{name}",
            sample=5 if name == "ocrvqa" else 0,
            tasks=("open_vqa", "multiple_choice") if name == "llava_mix" else (),
        )
        for name in DATASETS
    ]
    sources.append(SourceSettings(name="aesthetic", format="laion_coco_aesthetic", path=f"{output}/aesthetic"))
    changes = {
        "output": f"{output}/one",
        "descriptions": "",
        "instructions": {"playback": 15, "aesthetic": 100, "unique": True},
        "download": {"images_per_shard": 200, "retries": 0},
        "cluster": {"data_workers": 1, "rows_per_block": 120, "max_error_rate": 0.2},
    }
    return merge(replace(preset("toy-test"), sources=tuple(sources)), changes)


@pytest.fixture(scope="module")
def one(settings: Settings) -> list[Table]:
    _write_tokens(settings)
    return build_sft(settings, vocabulary_of(settings))


def _write_tokens(settings: Settings) -> None:
    """The tokens tables that playback reads, as their corpora leave them."""
    objects = [{"object_id": "1", "label": "dog", "synset": "", "x": 0.0, "y": 0.0, "w": 5.0, "h": 5.0}]
    region = {"x": 0.0, "y": 0.0, "side": 0.5, "location": "Top Left", "labels": ["dog"], "codes": [3]}
    images = [
        {
            **annotated_image("vg", str(i), 0, caption="A dog.", objects=objects, keep=i % 4 != 3),
            "regions": [region],
            "codes": [1, 2],
        }
        for i in range(PLAYED)
    ]
    pairs = [{**captioned_image("aesthetic", str(i), 0, caption_coco="a dog"), "codes": [1]} for i in range(PLAYED)]
    for corpus, kind, rows in (("mmgic", schema.TOKENIZED_IMAGE, images), ("ic", schema.TOKENIZED_PAIR, pairs)):
        folder = f"{settings.output}/{corpus}/tokens"
        tables.write_part(f"{folder}/part-0.parquet", to_table(rows, kind))
        counts = tables.count(tables.open_table(folder))
        tables.write_manifest(folder, Manifest(f"{corpus}/tokens", "toy", len(rows), **counts, seconds=0.0))


def _rows(settings: Settings, name: str, kept: bool = True) -> list[dict[str, Any]]:
    table = tables.open_table(*(t.folder for t in tables.finished_tables(f"{settings.output}/sft/{name}")))
    rows: list[dict[str, Any]] = table.to_table(filter=tables.select() if kept else None).to_pylist()
    return rows


def test_every_record_of_table_14_becomes_a_document(settings: Settings, one: list[Table]) -> None:
    names = [table.name.split("/")[1] for table in one]
    assert names == ["annotations", "unique", "sampled", "images", "tokens", "documents", "playback", "aesthetic"]
    manifests = [table.manifest for table in one[:6]]
    for before, after in pairwise(manifests):
        assert after.rows_in == after.rows_out == before.kept
        assert after.kept + sum(after.reasons.values()) == after.rows_out
    annotations, unique, sampled, images, tokens, documents = manifests
    assert 0 < annotations.sources["llava_mix"]["kept"] < annotations.sources["llava_mix"]["rows"]
    assert annotations.reasons["other_task"] > 0
    lacking = unique.sources["ocrvqa"]["kept"] - 5
    assert (sampled.sources["ocrvqa"]["kept"], sampled.reasons) == (5, {"not_sampled": lacking})
    assert unique.reasons == {"duplicate_record": sum(unique.reasons.values())}
    assert unique.sources["llavar"]["kept"] < unique.sources["llavar"]["rows"]
    assert unique.sources["llava"]["kept"] == unique.sources["llava"]["rows"]
    assert images.reasons == {"download_failed": 1}  # a dead link of laion_gpt4v
    assert not tokens.reasons
    assert set(documents.sources) == set(DATASETS)
    assert all(counts["kept"] for counts in documents.sources.values())

    rows = _rows(settings, "documents")
    assert {row["template"] for row in rows} == set(schema.TASKS) - {"interleaved", "pair", "text_to_image"}
    for row in rows:
        assert row["answer_spans"]
        assert row["num_visual_tokens"] + row["num_text_tokens"] == len(row["input_ids"]) <= 512
        assert (row["num_visual_tokens"] == 0) == (row["template"] == "text_only")
        assert row["text"].count("[/INST]") == len(row["answer_spans"])
    edits = [row for row in rows if row["source"] == "magicbrush"]
    assert max(len(row["answer_spans"]) for row in edits) == 3


def test_playback_is_of_exact_size_and_half_of_each_order(settings: Settings, one: list[Table]) -> None:
    rows = _rows(settings, "playback", kept=False)
    assert Counter(row["template"] if row["keep"] else row["reason"] for row in rows) == {
        "image_first": 7,
        "text_first": 8,
    }
    aesthetic = _rows(settings, "aesthetic")
    assert Counter(row["template"] for row in aesthetic) == {"image_caption": 10, "text_to_image": 10}
    # a curriculum without them needs no rebuild
    assert {row["corpus"] for row in rows} == {"playback"}
    assert {row["corpus"] for row in aesthetic} == {"aesthetic"}
    assert {row["corpus"] for row in _rows(settings, "documents")} == {"sft"}
    smaller = merge(settings, {"instructions": {"playback": 4, "aesthetic": 0}})
    smaller = replace(smaller, output=f"{settings.output}/smaller")
    _write_tokens(smaller)
    [playback] = build_playback(smaller, vocabulary_of(settings))
    manifest = playback.manifest
    assert (playback.name, manifest.rows_in, manifest.kept) == ("sft/playback/CLDR", 15, 4)
    assert manifest.reasons == {"not_sampled": 11}


def test_two_workers_make_the_same_rows(
    settings: Settings, one: list[Table], capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {"data_workers": 2, "tokenizer_workers": 2, "rows_per_block": 77}
    two = merge(replace(settings, output=f"{settings.output}/two"), {"cluster": changes})
    _write_tokens(two)
    build_sft(two, vocabulary_of(settings))
    for name in ("annotations", "unique", "sampled", "tokens", "documents", "playback", "aesthetic"):
        # the shards of fetched images lie in the runs' own folders, but none was fetched
        assert digest(f"{two.output}/sft/{name}") == digest(f"{settings.output}/sft/{name}"), name
    assert "sft/aesthetic: 20 rows of aesthetic for a sample of 100; all of them are taken" in capsys.readouterr().out
