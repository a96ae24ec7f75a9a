"""The noun-phrase filter as stages on Ray: the same pool whatever the workers, and after a kill between its parts."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmgic.analysis.phrases import FREQUENCIES, read_frequencies
from mmgic.errors import InputError
from mmgic.pipelines.phrases import select_by_phrases
from mmgic.schema import CAPTIONED_IMAGE, KEPT, reject
from mmgic.settings import Settings, SourceSettings, merge
from mmgic.sources.captions.pairs import captioned_image
from mmgic.stages import tables
from mmgic.stages.digest import digest
from mmgic.stages.ingest import ingest
from mmgic.stages.places import Places
from mmgic.stages.tables import Table
from mmgic.toy.world.scenes import make_scene
from mmgic.toy.world.text import captions

SCENES = 150
SOURCES = {"blip": "blip_captions", "caps": "capsfusion", "art": "journeydb"}
pytestmark = pytest.mark.usefixtures("ray_cluster")


def rows(source: str) -> list[dict]:
    """Captions of scenes; every tenth was set aside before."""
    column = "caption_coco" if source == "blip" else "caption_capsfusion"
    return [
        captioned_image(
            source,
            str(i),
            0,
            **{column: captions(make_scene(5, "train", i), np.random.default_rng(i), 1)[0]},
            **(reject("no_caption") if i % 10 == 9 else KEPT),
        )
        for i in range(SCENES)
    ]


def settings_of(output: Path, **phrases: object) -> Settings:
    sources = tuple(SourceSettings(name=name, format=kind, path="") for name, kind in SOURCES.items())
    return merge(
        Settings(output=str(output), sources=sources, seed=4),
        {
            "phrases": {
                "min_count": 4,
                "captions_per_phrase": 5,
                **phrases,
            },
            "cluster": {"data_workers": 2, "rows_per_block": 60},
        },
    )


def annotations(output: Path) -> Table:
    readers = [lambda name=name: iter(rows(name)) for name in SOURCES]
    return ingest("ic/annotations", Places(str(output)), CAPTIONED_IMAGE, readers, {"scenes": SCENES}, rows_per_file=70)


def test_pool_is_the_same_for_any_workers_and_after_a_restart(tmp_path: Path) -> None:
    first = settings_of(tmp_path / "a")
    manifest = select_by_phrases(first, annotations(tmp_path / "a")).manifest
    kept = {name: counts["kept"] for name, counts in manifest.sources.items()}
    assert manifest.rows_in == manifest.rows_out == 3 * SCENES - 3 * SCENES // 10
    assert kept["art"] == SCENES - SCENES // 10
    assert 20 < kept["blip"] < SCENES - SCENES // 10
    assert manifest.reasons == {"phrases_not_selected": manifest.rows_out - manifest.kept}
    selected = tables.open_table(f"{tmp_path}/a/ic/selected")
    assert selected.schema.names == CAPTIONED_IMAGE.names

    # every frequent phrase keeps at least as many captions as it may draw
    table = tables.open_table(f"{tmp_path}/a/ic/phrases").to_table().to_pylist()
    kept_ids = {row["row_id"] for row in selected.to_table().to_pylist() if row["keep"]}
    members: dict[str, list[bool]] = {}
    for row in table:
        for phrase in row["phrases"]:
            members.setdefault(phrase, []).append(row["row_id"] in kept_ids)
    assert all(sum(m) >= min(5, len(m)) for m in members.values() if len(m) >= 4)
    assert any(sum(m) < len(m) for m in members.values())

    text = (tmp_path / "a/ic/selected" / FREQUENCIES).read_text()
    found = read_frequencies(text)
    assert found.before.distinct == len(members)
    assert found.before.occurrences == sum(map(len, members.values()))
    assert found.after.occurrences == sum(map(sum, members.values()))
    assert found.after.distinct == sum(any(m) for m in members.values())
    assert found.before.counts[0] == max(map(len, members.values()))
    assert "<svg" in (tmp_path / "a/ic/selected/phrases.svg").read_text()

    # killed before the end of the selection
    (tmp_path / "a/ic/selected/manifest.json").unlink()
    (tmp_path / "a/ic/selected" / FREQUENCIES).unlink()
    for part in (tmp_path / "a/ic/selected").glob("*.parquet"):
        part.unlink()
    again = select_by_phrases(first, annotations(tmp_path / "a")).manifest
    assert replace(again, seconds=0) == replace(manifest, seconds=0)
    assert (tmp_path / "a/ic/selected" / FREQUENCIES).read_text() == text

    second = settings_of(tmp_path / "b")
    second = replace(second, cluster=replace(second.cluster, data_workers=1, rows_per_block=500))
    select_by_phrases(second, annotations(tmp_path / "b"))
    assert digest(f"{tmp_path}/a/ic/selected") == digest(f"{tmp_path}/b/ic/selected")
    assert json.loads((tmp_path / "b/ic/selected" / FREQUENCIES).read_text()) == json.loads(text)

    # another seed, from the phrases that were found
    shutil.rmtree(tmp_path / "b/ic/selected")
    select_by_phrases(replace(second, seed=5), annotations(tmp_path / "b"))
    assert digest(f"{tmp_path}/a/ic/selected") != digest(f"{tmp_path}/b/ic/selected")


def test_missing_pipeline_is_named_before_anything_runs(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, pipeline="en_core_web_xx")
    with pytest.raises(InputError, match="'en_core_web_xx' is not installed"):
        select_by_phrases(settings, annotations(tmp_path))
    assert not (tmp_path / "ic/phrases").exists()
