"""The data stages on a small toy world: counts that add up, and the same rows on any number of workers."""

import csv
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from mmgic.errors import InputError
from mmgic.pipelines.build import BuildReport, build
from mmgic.pipelines.places import places_of
from mmgic.presets import preset
from mmgic.settings import Settings, SettingsError, load_settings
from mmgic.stages import tables
from mmgic.stages.digest import digest
from mmgic.stages.places import Places
from mmgic.toy.datasets.write import make_world
from mmgic.training.metrics import read_metrics
from mmgic.training.store import TokenStore

ROOT = Path(__file__).resolve().parents[2]
SCENES = 40
pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a toy world that lacks one photo."""
    output = tmp_path_factory.mktemp("build")
    make_world(output / "world", SCENES, 0)
    next((output / "world" / "objects365" / "images").rglob("*.jpg")).unlink()
    toy = load_settings(preset("toy-test"), None, [f"output={output}"])
    return replace(toy, sources=tuple(replace(source, repeats=min(2, source.repeats)) for source in toy.sources))


@pytest.fixture(scope="module")
def one_worker(settings: Settings) -> tuple[Settings, BuildReport]:
    cluster = replace(settings.cluster, data_workers=1, rows_per_block=9)
    one = replace(settings, output=f"{settings.output}/one", cluster=cluster)
    return one, build(one)


def test_every_row_of_a_stage_is_in_the_next(one_worker: tuple[Settings, BuildReport]) -> None:
    settings, report = one_worker
    stages = {table.name: table.manifest for table in report.tables}
    mmgic = [
        stages[f"mmgic/{name}"] for name in ("annotations", "cleaned", "regions", "tokens", "documents/CLDR/repeat_0")
    ]
    sft = [stages[f"sft/{name}"] for name in ("annotations", "tokens", "documents")]
    annotations, _, _, tokens, _ = mmgic
    assert annotations.sources["objects365"]["rows"] == SCENES // 2
    assert set(annotations.sources) == {"visual_genome", "objects365"}
    assert set(sft[0].sources) == {"vqav2"}
    for before, after in (*pairwise(mmgic), *pairwise(sft)):
        assert after.rows_in == after.rows_out == before.kept
        assert after.kept + sum(after.reasons.values()) == after.rows_out
    assert tokens.reasons == {"image_missing": 1}
    assert stages["mmgic/documents/CLDR/repeat_1"].rows_in == tokens.sources["visual_genome"]["kept"]

    store = TokenStore(report.store_folder)
    assert len(store) == sum(manifest.kept for name, manifest in stages.items() if "/documents" in name)
    assert set(store.corpora) == {"mmgic", "vqa"}
    assert len(store.corpus_indices("vqa")) == sft[-1].kept
    assert Path(settings.output, "settings.yaml").is_file()


def test_two_workers_make_the_same_rows(settings: Settings, one_worker: tuple[Settings, BuildReport]) -> None:
    cluster = replace(settings.cluster, data_workers=2, tokenizer_workers=2, rows_per_block=14)
    two = replace(settings, output=f"{settings.output}/two", cluster=cluster)
    build(two)
    for stage in ("mmgic/annotations", "mmgic/cleaned", "mmgic/regions", "mmgic/tokens", "mmgic/documents"):
        assert digest(f"{two.output}/{stage}") == digest(f"{one_worker[0].output}/{stage}"), stage
    for stage in ("sft/annotations", "sft/tokens", "sft/documents"):
        assert digest(f"{two.output}/{stage}") == digest(f"{one_worker[0].output}/{stage}"), stage


def test_output_and_data_can_be_moved(
    settings: Settings, one_worker: tuple[Settings, BuildReport], capsys: pytest.CaptureFixture[str]
) -> None:
    """All that is finished stays, and what is not is made of the data where they lie now."""
    before, report = one_worker
    moved = load_settings(preset("toy-test"), None, [f"output={settings.output}_moved"])
    shutil.copytree(before.output, moved.output)
    shutil.copytree(Path(settings.output, "world"), Path(moved.output, "world"))
    repeats = {source.name: source.repeats for source in before.sources}
    sources = tuple(replace(source, repeats=repeats[source.name]) for source in moved.sources)
    moved = replace(moved, sources=sources, cluster=before.cluster)
    files = {path: path.stat().st_mtime_ns for path in Path(moved.output, "store/CLDR").iterdir()}
    capsys.readouterr()
    again = build(moved)
    assert capsys.readouterr().out.count("(done before)") == len(report.tables)
    assert again.store == report.store
    assert {path: path.stat().st_mtime_ns for path in Path(moved.output, "store/CLDR").iterdir()} == files

    shutil.rmtree(Path(moved.output, "sft", "tokens"))
    shutil.rmtree(Path(moved.output, "sft", "documents"))
    tokens = Places(before.output).table("sft/tokens")
    stored = tables.open_table(tokens.folder).to_table(columns=["source", "images"]).to_pylist()
    assert all(row["images"][0]["image_path"].startswith("{data}/") for row in stored)
    shown = places_of(moved).resolve(stored[0])["images"][0]["image_path"]
    assert shown.startswith(moved.output)
    build(moved)
    assert digest(f"{moved.output}/sft/tokens") == digest(tokens.folder)
    os.remove(shown)
    shutil.rmtree(Path(moved.output, "sft", "tokens"))
    shutil.rmtree(Path(moved.output, "sft", "documents"))
    lacking = {table.name: table.manifest for table in build(moved).tables}["sft/tokens"]
    assert lacking.reasons == {"image_missing": sum(row["images"] == stored[0]["images"] for row in stored)}


def test_another_recipe_makes_its_documents_alone(
    one_worker: tuple[Settings, BuildReport], capsys: pytest.CaptureFixture[str]
) -> None:
    settings, report = one_worker
    captions = replace(settings, documents=replace(settings.documents, recipe="C"))
    capsys.readouterr()
    other = build(captions)
    lines = [line for line in capsys.readouterr().out.splitlines() if "rows in" in line]
    anew = {"mmgic/documents/C/repeat_0", "mmgic/documents/C/repeat_1"}
    assert {line.partition(":")[0] for line in lines if not line.endswith("(done before)")} == anew
    assert {table.name for table in other.tables} - {table.name for table in report.tables} == anew
    assert all(table in report.tables for table in other.tables if table.name not in anew)

    whole, short = TokenStore(report.store_folder), TokenStore(other.store_folder)
    assert report.store_folder != other.store_folder == Path(settings.output, "store/C")
    assert len(whole) == len(short)
    assert whole.manifest.tokens > short.manifest.tokens
    assert whole.manifest.corpora["vqa"].sources == short.manifest.corpora["vqa"].sources
    assert build(settings) == report


def test_a_sweep_of_a_finished_build_leaves_a_table_and_a_plot(
    one_worker: tuple[Settings, BuildReport], ray_cluster: str
) -> None:
    """The mask_prob sweep from its command line: Ray Tune trials that are Ray Train runs. It goes on where it was."""
    output = Path(one_worker[0].output)
    command = [sys.executable, str(ROOT / "tune/mask_prob.py"), "--config", f"{output}/settings.yaml"]
    command += ["--values", "0", "1", "--benchmarks", "coco_captions", "pope"]
    for setting in ("training.max_steps=3", "cluster.training_workers=1", "toy.scenes=0", "evaluation.max_images=8"):
        command += ["--set", setting]
    environment = {**os.environ, "RAY_ADDRESS": ray_cluster}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=420)
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.count("(done before)") == len(one_worker[1].tables)

    folder = output / "sweeps" / "mask_prob"
    with (folder / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(float(row["mask_prob"]), row["seed"]) for row in rows] == [(0, "0"), (1, "0")]
    assert all(float(row["text_loss"]) > 0 for row in rows)
    assert list(rows[0])[4:-1] == ["COCO captions CIDEr (x100)", "POPE F1 (%)"]
    assert max(rows, key=lambda row: float(row["COCO captions CIDEr (x100)"]))["run"] in result.stdout
    assert all(float(row["COCO captions CIDEr (x100)"]) > 0 for row in rows)
    assert (folder / "plot.png").stat().st_size > 1000
    for value in (0, 1):  # both losses are trained, however few the steps
        steps = read_metrics(output / "training" / f"mask_prob_{value}_seed_0")
        assert [step["stage"] for step in steps] == [1, 1, 1, 2, 2, 2]
        assert any(step["visual_loss"] > 0 for step in steps)


def test_finished_stages_stay_and_other_settings_are_refused(
    one_worker: tuple[Settings, BuildReport], capsys: pytest.CaptureFixture[str]
) -> None:
    settings, report = one_worker
    assert build(settings) == report
    assert capsys.readouterr().out.count("(done before)") == len(report.tables)
    longer = replace(settings, documents=replace(settings.documents, max_tokens=400))
    with pytest.raises(InputError, match=r"documents/CLDR/repeat_0 was built with documents.max_tokens = 512, now 400"):
        build(longer)
    with (Path(settings.sources[0].path) / "objects.json").open("a") as file:
        file.write(" ")
    with pytest.raises(InputError, match=r"annotations was built with .*objects.json"):
        build(settings)


def test_sources_need_names_of_their_own(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="no 'sources'"):
        build(replace(settings, sources=()))
    with pytest.raises(SettingsError, match="2 of the 'sources' are named 'visual_genome'"):
        build(replace(settings, sources=settings.sources[:1] * 2))
