"""A whole build that is killed at random moments, driver and workers, and moved, ends with the rows of a calm one."""

import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from mmgic.pipelines.build import build
from mmgic.presets import preset
from mmgic.settings import Settings, load_settings, to_yaml
from mmgic.stages.digest import digest
from mmgic.toy.datasets.write import make_world

ROOT = Path(__file__).parents[2]
SOURCES = ("open_images", "blip_captions", "llava")
# ic/images too: its urls are dead links, and the paths of images that were fetched are all that a kill may change
TABLES = (
    *("mmgic/annotations", "mmgic/tokens", "mmgic/documents"),
    *("ic/phrases", "ic/selected", "ic/images", "ic/documents"),
    *("sft/tokens", "sft/documents", "sft/playback"),
)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A small build of three corpora, in blocks of a few rows."""
    output = tmp_path_factory.mktemp("kill")
    make_world(output / "world", 16, 0)
    changes = [f"output={output}", "captions.synthesize=false", "toy.scenes=0", "vision.pixels="]
    toy = load_settings(preset("toy-all"), None, changes)
    cluster = replace(toy.cluster, rows_per_block=10)
    return replace(toy, sources=tuple(s for s in toy.sources if s.name in SOURCES), cluster=cluster)


def test_kills_at_random_moments_change_no_row_though_output_and_data_are_moved_meanwhile(
    settings: Settings, ray_cluster: str
) -> None:
    calm = replace(settings, output=f"{settings.output}/calm")
    build(calm)
    folder = f"{settings.output}/before/run"  # where the killed build lies
    config = Path(settings.output, "killed.yaml")
    config.write_text(to_yaml(replace(settings, output=folder)))
    command = [sys.executable, str(ROOT / "jobs/build_data.py"), "--config", str(config)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_ADDRESS": ray_cluster}

    seed = time.time_ns()
    print(f"seed {seed}")
    chance = random.Random(seed)
    driver = subprocess.Popen(command, env=environment)
    kills = 0
    while kills < 3:
        written = _files(folder) + chance.randint(1, 12)
        while driver.poll() is None and _files(folder) < written:
            time.sleep(0.05)
        time.sleep(chance.uniform(0, 2))
        if driver.poll() == 0:
            break
        if driver.poll() is not None:  # a worker's death may end a driver: the same command again
            driver = subprocess.Popen(command, env=environment)
            continue
        workers = [p for p in psutil.Process().children(recursive=True) if _is_worker(p)]
        victim = chance.choice(workers) if kills and workers and chance.random() < 0.5 else None
        what = f"worker {victim.name()}" if victim else "driver"
        print(f"kill {kills} after {_files(folder)} files: {what}", flush=True)
        if victim:
            victim.kill()
        else:
            driver.kill()
            driver.wait()
            if not kills:
                folder = _move(settings, folder, config)
            driver = subprocess.Popen(command, env=environment)
        kills += 1
    if driver.wait(timeout=600):
        subprocess.run(command, env=environment, check=True, timeout=600)
    assert kills
    for table in TABLES:
        assert digest(f"{folder}/{table}") == digest(f"{calm.output}/{table}"), table


def _move(settings: Settings, folder: str, config: Path) -> str:
    """Moves the run's output and its data, and returns where the output lies then."""
    moved, world = f"{settings.output}/after/run", f"{settings.output}/world"
    Path(moved).parent.mkdir()
    for old, new in ((folder, moved), (world, f"{world}_after")):
        Path(old).rename(new)
        config.write_text(config.read_text().replace(old, new))
    return moved


def _files(folder: str) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))


def _is_worker(process: psutil.Process) -> bool:
    try:
        return any("ray::" in part and "Agent" not in part for part in process.cmdline())
    except psutil.Error:
        return False
