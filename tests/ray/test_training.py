"""Training on Ray: the same losses with workers as without, and after a killed worker or driver."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import ray
from ray.train import WorkerGroupError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
from safetensors.torch import load_file

from mmgic.errors import InputError
from mmgic.settings import ClusterSettings, Settings, SettingsError, to_yaml
from mmgic.stages.task import in_task
from mmgic.training.checkpoints import PARAMETERS, checkpoints
from mmgic.training.metrics import read_metrics
from mmgic.training.recipes.pretrain import PRETRAINING, PretrainingResult
from mmgic.training.run import _lost_worker, check_resources, run
from mmgic.training.store import read_store_manifest

MakeRun = Callable[..., Settings]
STEPS = 60
DRIVER = """
import sys, ray
from mmgic.settings import Settings, load_settings
from mmgic.training.recipes.pretrain import PRETRAINING
from mmgic.training.run import run
ray.init(address=sys.argv[1], log_to_driver=False)
run(PRETRAINING, load_settings(Settings(), sys.argv[2]))
"""


@pytest.fixture(scope="module")
def reference(tiny_run: MakeRun, tmp_path_factory: pytest.TempPathFactory) -> PretrainingResult:
    """A run of one process that nobody disturbs."""
    return run(PRETRAINING, tiny_run(tmp_path_factory.mktemp("reference"), training={"max_steps": STEPS}))


def with_workers(settings: Settings, workers: int) -> Settings:
    return replace(settings, cluster=replace(settings.cluster, training_workers=workers))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 400
    while not condition():
        assert time.monotonic() < deadline, "nothing happened for minutes"
        time.sleep(0.02)


def training_workers() -> Iterator[psutil.Process]:
    for process in psutil.Process().children(recursive=True):
        try:
            if "RayTrainWorker" in " ".join(process.cmdline()):
                yield process
        except psutil.NoSuchProcess:
            continue


def assert_same_run(result: PretrainingResult, reference: PretrainingResult) -> None:
    assert (result.steps, result.tokens) == (reference.steps, reference.tokens)
    ours, theirs = (read_metrics(Path(r.run_folder)) for r in (result, reference))
    assert [line["step"] for line in ours] == list(range(STEPS))
    assert [line["tokens"] for line in ours] == [line["tokens"] for line in theirs]
    assert [line["loss"] for line in ours] == pytest.approx([line["loss"] for line in theirs], rel=2e-4)
    expected = load_file(Path(reference.checkpoint) / PARAMETERS)
    for name, tensor in load_file(Path(result.checkpoint) / PARAMETERS).items():
        assert (tensor - expected[name]).norm() <= 2e-3 * expected[name].norm(), name


@pytest.mark.usefixtures("ray_cluster")
def test_a_killed_worker_changes_nothing(tiny_run: MakeRun, reference: PretrainingResult, tmp_path: Path) -> None:
    elastic = {"fewest_training_workers": 1, "training_workers": 2}
    settings = tiny_run(tmp_path, training={"max_steps": STEPS}, cluster=elastic)
    results: list[PretrainingResult] = []
    thread = threading.Thread(target=lambda: results.append(run(PRETRAINING, settings)))
    thread.start()
    wait_until(lambda: len(read_metrics(PRETRAINING.run_folder(settings))) >= 5)
    next(training_workers()).send_signal(signal.SIGKILL)
    assert len(read_metrics(PRETRAINING.run_folder(settings))) < STEPS, "the run ended before the worker was killed"
    thread.join()
    assert_same_run(results[0], reference)
    assert run(PRETRAINING, settings) == results[0]  # a finished run is not begun again


@pytest.mark.usefixtures("ray_cluster")
def test_a_killed_driver_goes_on_with_another_number_of_workers(
    tiny_run: MakeRun, reference: PretrainingResult, tmp_path: Path
) -> None:
    settings = with_workers(tiny_run(tmp_path, training={"max_steps": STEPS}), 2)
    (tmp_path / "settings.yaml").write_text(to_yaml(settings))
    address = ray.get_runtime_context().gcs_address
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, address, str(tmp_path / "settings.yaml")], env=dict(os.environ)
    )
    wait_until(lambda: len(read_metrics(PRETRAINING.run_folder(settings))) >= 5 or driver.poll() is not None)
    driver.kill()
    driver.wait()
    wait_until(lambda: not list(training_workers()))
    assert len(checkpoints(PRETRAINING.run_folder(settings))) > 0
    assert len(read_metrics(PRETRAINING.run_folder(settings))) < STEPS, "the run ended before the driver was killed"
    assert_same_run(run(PRETRAINING, with_workers(settings, 0)), reference)


@pytest.mark.usefixtures("ray_cluster")
def test_what_a_worker_cannot_use_is_told_in_one_sentence_and_not_tried_again(
    tiny_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tiny_run(tmp_path, training={"max_steps": 4, "max_failures": 3})
    result = run(PRETRAINING, settings)
    Path(result.run_folder, "result.json").unlink()
    (Path(result.checkpoint) / PARAMETERS).write_bytes(b"cut off")
    with pytest.raises(InputError, match="cannot be read as a checkpoint"):
        run(PRETRAINING, with_workers(settings, 1))
    assert "the run goes on" not in capsys.readouterr().out


def test_nodes_that_join_are_waited_for(ray_cluster: str, capsys: pytest.CaptureFixture[str]) -> None:
    beyond = replace(ClusterSettings(), training_workers=8, training_gpus=0)  # the cluster has 6 processors
    with pytest.raises(SettingsError, match="8 training workers need 8 CPUs but the cluster has 6"):
        check_resources(replace(beyond, wait_for_nodes_s=0.2))
    node = subprocess.Popen(
        [Path(sys.executable).with_name("ray"), "start", f"--address={ray_cluster}", "--num-cpus=2", "--block"],
        stdout=subprocess.DEVNULL,
    )
    try:
        check_resources(replace(beyond, wait_for_nodes_s=120.0))
    finally:
        node.terminate()
        node.wait()
    assert capsys.readouterr().out.count("waiting up to") == 2
    wait_until(lambda: ray.cluster_resources()["CPU"] == 6)


@pytest.mark.usefixtures("ray_cluster")
def test_too_few_processors_are_refused_at_once(tiny_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="1000 training workers need 1000 CPUs but the cluster has 6"):
        run(PRETRAINING, with_workers(tiny_run(tmp_path), 1000))
    on_gpus = with_workers(tiny_run(tmp_path, cluster={"training_gpus": 1.0}), 2)
    with pytest.raises(SettingsError, match="GPUs but the cluster has 0"):
        run(PRETRAINING, on_gpus)


def test_a_cluster_that_grows_is_asked_and_one_that_never_can_is_refused_at_once(
    ray_cluster: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    beyond = replace(ClusterSettings(), training_workers=8, training_gpus=0)  # the cluster has 6 processors
    monkeypatch.setattr("mmgic.training.run.largest_cluster", lambda: {"CPU": 7.0})
    with pytest.raises(SettingsError, match="8 CPUs but the cluster has 7 at its largest"):
        check_resources(replace(beyond, wait_for_nodes_s=600.0))
    assert "waiting" not in capsys.readouterr().out
    check_resources(replace(beyond, fewest_training_workers=6))
    monkeypatch.setattr("mmgic.training.run.largest_cluster", lambda: {"CPU": 8.0})
    monkeypatch.setattr("mmgic.training.run.GROWTH_SECONDS", 0.2)
    with pytest.raises(SettingsError, match="8 CPUs but the cluster has 6;"):
        check_resources(beyond)
    assert "waiting up to 0 s" in capsys.readouterr().out


@pytest.mark.usefixtures("ray_cluster")
def test_work_is_done_where_its_resources_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert in_task(round, 2.7, log=tmp_path / "log.txt", memory=1e6) == 3
    in_task(print, "from afar", log=tmp_path / "log.txt")
    assert "from afar" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"^nowhere holds no finished token store; run `mmgic build` first$"):
        in_task(read_store_manifest, "nowhere", log=tmp_path / "log.txt")
    with pytest.raises(InputError, match="1 GPUs are asked for, but no node of the cluster has more than 0"):
        in_task(round, 1, log=tmp_path / "log.txt", gpus=1.0)


def test_a_worker_that_was_killed_is_told_apart_from_a_fault_of_ours() -> None:
    alone = RuntimeError("Connection closed by peer")  # what its neighbours say
    killed = WorkerHealthCheckFailedError("a worker is gone", ray.exceptions.ActorDiedError())
    hungry = WorkerHealthCheckFailedError("a worker is gone", ray.exceptions.OutOfMemoryError("Task was killed.\nMore"))
    assert "died" in _lost_worker(WorkerGroupError("", {0: alone, 1: killed}))
    assert _lost_worker(WorkerGroupError("", {0: hungry})) == "Task was killed."
    assert _lost_worker(WorkerGroupError("", {0: alone})) == ""
