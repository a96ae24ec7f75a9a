"""Every preset of the paper runs from downloads to scores, on stand-ins in the layout of the real downloads."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmgic.evaluation.registry import benchmarks
from mmgic.presets import preset
from mmgic.settings import Settings, load_settings
from mmgic.sources.formats import FORMATS
from mmgic.stages.tables import Manifest, read_manifest
from mmgic.toy.downloads.rehearsal import FILE
from mmgic.training.store import TokenStore, store_folder

ROOT = Path(__file__).resolve().parents[2]
PRESETS = ("mmgic-7b", "mmgic-ic-7b", "data-7b")  # each has the sources of the one before, and more


def readme_commands() -> str:
    """The commands of README's section on the rehearsal."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Rehearse the paper's run")[2]
    [commands] = re.findall(r"```bash\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    return str(commands)


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder where README's commands have rehearsed the first preset, and a driver the others."""
    folder = tmp_path_factory.mktemp("paper")
    (folder / "jobs").symlink_to(ROOT / "jobs")
    paths = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    driver = f"python {ROOT}/tests/ray/rehearsal_driver.py {' '.join(PRESETS)}\n"
    done = subprocess.run(
        ["bash", "-e"],
        input=readme_commands() + driver,
        cwd=folder,
        env={**os.environ, **paths},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder / "rehearsal"


@pytest.fixture(params=PRESETS)
def run(request: pytest.FixtureRequest, rehearsal: Path) -> Settings:
    """The settings of one preset as it was rehearsed, its paths made absolute."""
    settings = load_settings(preset(request.param), rehearsal / FILE)
    return load_settings(settings, None, [f"output={rehearsal / settings.output}"])


def manifests(settings: Settings) -> dict[str, Manifest]:
    folders = [path.parent for path in Path(settings.output).rglob("manifest.json")]
    found = {str(folder.relative_to(settings.output)): read_manifest(str(folder)) for folder in folders}
    return {name: manifest for name, manifest in found.items() if manifest is not None}


def test_every_source_reaches_the_documents(run: Settings) -> None:
    tables = manifests(run)
    for source in run.sources:
        corpus = FORMATS[source.format].corpus
        documents = [name for name in tables if name.startswith(f"{corpus}/documents")]
        kept = {name: tables[name].sources.get(source.name, {}).get("kept", 0) for name in documents}
        assert any(kept.values()), f"{source.name}: {tables[f'{corpus}/annotations'].sources.get(source.name)}"
        repeats = [name for name, rows in kept.items() if rows]
        assert len(repeats) == source.repeats
    store = TokenStore(store_folder(run))
    drawn = {"playback", "aesthetic"} & {name.split("/")[1] for name in tables}
    assert set(store.corpora) == drawn | {source.corpus or FORMATS[source.format].corpus for source in run.sources}


def test_rows_in_are_rows_out_and_every_stage_has_work(run: Settings) -> None:
    tables = manifests(run)
    for name, manifest in tables.items():
        assert manifest.rows_in == manifest.rows_out == manifest.kept + sum(manifest.reasons.values()), name
    assert tables["mmgic/cleaned"].kept < tables["mmgic/cleaned"].rows_in
    assert {"heldout_split", "validation_split"} <= tables["mmgic/annotations"].reasons.keys()
    if "ic/selected" in tables:
        assert tables["ic/selected"].reasons["phrases_not_selected"] > 0
        assert tables["ic/images"].reasons.keys() == {"download_failed"}
        assert tables["ic/captions"].kept == tables["ic/merged"].kept > 0
    if "sft/documents" in tables:
        assert tables["sft/playback/CLDR"].kept == run.instructions.playback
        assert tables["sft/aesthetic"].kept == run.instructions.aesthetic


def test_the_model_is_scored_on_the_benchmarks_that_were_asked_for(run: Settings) -> None:
    found = json.loads(Path(run.output, "evaluation/model/scores.json").read_text(encoding="utf-8"))
    assert found["engine"] == "vllm"
    # the README's command scores on all there are, the driver of the other presets on two
    asked = sorted(benchmarks()) if run.preset == "mmgic-7b" else ["coco_captions", "pope"]
    assert [result["benchmark"] for result in found["benchmarks"]] == asked
    for result in found["benchmarks"]:
        assert all(part["items"] > 0 for part in result["parts"])
        assert all(math.isfinite(score["raw"]) for score in result["scores"].values())
    phases = run.training.curriculum.count("->") + 1
    losses = [json.loads(line) for line in Path(run.output, "training/pretrain/metrics.jsonl").read_text().splitlines()]
    assert len(losses) >= 2 * phases
    assert all(math.isfinite(step["visual_loss"]) and math.isfinite(step["text_loss"]) for step in losses)
