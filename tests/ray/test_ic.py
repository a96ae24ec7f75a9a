"""Image-caption and interleaved corpora from the toy world's files to documents, without a network."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from mmgic.model.assemble import vocabulary_of
from mmgic.pipelines.ic import build_ic
from mmgic.pipelines.mmc4 import build_mmc4
from mmgic.presets import preset
from mmgic.settings import Settings, SourceSettings, merge
from mmgic.sources.copies import url_content
from mmgic.stages import tables
from mmgic.stages.digest import digest
from mmgic.stages.tables import Table
from mmgic.toy.datasets.image_captions import DATASETS, write_image_captions, write_mmc4
from mmgic.toy.datasets.samples import World

FILES = {"annotations": "ccs_filtered.json", "captions": "ccs_synthetic_filtered_large.json"}
pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    output = tmp_path_factory.mktemp("ic")
    world = World(0)
    write_image_captions(output, world, range(3_000_000, 3_000_120))
    write_mmc4(output, world, range(4_000_000, 4_000_036))
    # urls of BLIP's, as another list of the web may write them
    web = json.loads((output / "blip_captions/ccs_filtered.json").read_text())
    shared = [record["url"] for record in web if "url" in record]
    with (output / "cc12m/cc12m.tsv").open("a") as file:
        file.writelines(f"{url.replace('http://', 'https://')}#top\tanother caption\n" for url in shared[:30])
    sources = [
        SourceSettings(
            name=name,
            format=name,  # type: ignore[arg-type]
            path=f"{output}/{name.removesuffix('_pairs')}",
            sample={"journeydb": 2, "mmc4_pairs": 9}.get(name, 0),
            **(FILES if name == "blip_captions" else {}),  # type: ignore[arg-type]
        )
        for name in (*DATASETS, "mmc4", "mmc4_pairs")
    ]
    changes = {
        "output": f"{output}/one",
        "phrases": {"min_count": 3, "captions_per_phrase": 4},
        "captions": {"synthesize": False, "merge": False},
        "download": {"images_per_shard": 40, "retries": 0},
        "cluster": {"data_workers": 1, "rows_per_block": 25},
    }
    return merge(replace(preset("toy-test"), sources=tuple(sources)), changes)


@pytest.fixture(scope="module")
def built(settings: Settings) -> dict[str, list[Table]]:
    vocabulary = vocabulary_of(settings)
    return {"ic": build_ic(settings, vocabulary), "mmc4": build_mmc4(settings, vocabulary)}


def test_every_kept_row_of_a_stage_is_in_the_next(built: dict[str, list[Table]]) -> None:
    names = {corpus: [table.name.split("/")[1] for table in stages] for corpus, stages in built.items()}
    assert names == {
        "ic": ["annotations", "unique", "selected", "sampled", "images", "tokens", "documents"],
        "mmc4": ["annotations", "sampled", "images", "tokens", "documents"],
    }
    for stages in built.values():
        for before, after in pairwise(table.manifest for table in stages):
            assert after.rows_in == after.rows_out == before.kept
            assert after.kept + sum(after.reasons.values()) == after.rows_out
    annotations, unique, selected, sampled, images, tokens, documents = (table.manifest for table in built["ic"])
    for name, corpus, size in (("journeydb", sampled, 2), ("mmc4_pairs", built["mmc4"][1].manifest, 9)):
        assert corpus.sources[name]["kept"] == size < corpus.sources[name]["rows"]
        assert corpus.reasons == {"not_sampled": corpus.sources[name]["rows"] - size}
    assert set(annotations.sources) == set(DATASETS)
    assert {"bad_record", "duplicate_id", "no_caption", "download_failed"} == set(annotations.reasons)
    assert unique.reasons == {"duplicate_record": annotations.kept - unique.kept}
    assert selected.reasons["phrases_not_selected"]
    assert set(images.reasons) == {"download_failed"}  # dead links, and no network
    assert set(tokens.reasons) == {"image_undecodable"}
    assert documents.kept


def test_an_image_of_several_sources_stays_with_the_first(settings: Settings, built: dict[str, list[Table]]) -> None:
    rows = tables.open_table(f"{settings.output}/ic/unique").to_table().to_pylist()
    kept = {name: {url_content(r["url"]) for r in rows if r["keep"] and r["source"] == name} for name in DATASETS}
    urls = [url_content(row["url"]) for row in rows if row["keep"] and row["url"]]
    assert len(urls) == len(set(urls))
    copies = [row for row in rows if not row["keep"]]
    assert len(copies) > 15
    assert {row["source"] for row in copies} == {"cc12m"}
    assert all(url_content(row["url"]) in kept["blip_captions"] for row in copies)


def test_documents_hold_image_and_captions(settings: Settings, built: dict[str, list[Table]]) -> None:
    rows = tables.open_table(f"{settings.output}/ic/documents").to_table(filter=tables.select()).to_pylist()
    assert {row["corpus"] for row in rows} == {"ic"}
    assert {row["template"] for row in rows} == {"image_first", "text_first"}
    [blip, caps] = (next(r for r in rows if r["source"] == name) for name in ("blip_captions", "capsfusion"))
    assert "Caption: " in blip["text"]
    assert "Detailed caption: " in caps["text"]
    pages = tables.open_table(f"{settings.output}/mmc4/documents").to_table(filter=tables.select()).to_pylist()
    assert {row["template"] for row in pages} == {"interleaved", "image_first", "text_first"}
    page = next(row for row in pages if row["template"] == "interleaved")
    assert page["text"].count("[IMG]") > 1
    lost = [drop for table in built["mmc4"] for drop in table.manifest.drops]
    assert "image_failed" in lost


def test_two_workers_and_other_blocks_make_the_same_rows(settings: Settings, built: dict[str, list[Table]]) -> None:
    changes = {
        "output": f"{Path(settings.output).parent}/two",
        "download": {"images_per_shard": 17},
        "cluster": {"data_workers": 2, "tokenizer_workers": 2, "rows_per_block": 18},
    }
    two = merge(settings, changes)
    again = build_ic(two, vocabulary_of(two))
    assert [table.name for table in again] == [table.name for table in built["ic"]]
    for made, first in zip(again, built["ic"], strict=True):
        assert digest(made.folder) == digest(first.folder)
