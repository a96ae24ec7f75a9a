"""Tokenizer training on Ray: the same figures with workers as without, after a killed driver, and in LaVIT's names."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import ray
import torch
from PIL import Image
from safetensors.torch import load_file

from mmgic.errors import InputError
from mmgic.settings import SettingsError, TokenizerTraining
from mmgic.training.checkpoints import checkpoints
from mmgic.training.recipes.visual_tokenizer import TokenizerJob, TokenizerResult, run
from mmgic.vision import VisionConfig, VisualTokenizer, load_tokenizer, save_tokenizer
from mmgic.vision.folders import LAVIT_FILES
from mmgic.vision.lavit.exporting import save_lavit
from mmgic.vision.learning.curves import read_figures
from mmgic.vision.learning.features import list_images
from mmgic.vision.learning.objective import decoder_config
from mmgic.vision.network.feature_decoder import FeatureDecoder

TINY = VisionConfig(
    image_size=16,
    patch_size=4,
    width=16,
    depth=1,
    num_heads=2,
    mlp_hidden=16,
    merger_depth=1,
    merger_heads=2,
    codebook_size=12,
    codebook_dim=4,
)
SETTINGS = TokenizerTraining(
    continuous_steps=12,
    quantized_steps=18,
    batch_size=8,
    learning_rate=1e-3,
    warmup_steps=2,
    vectors_per_code=10,
    revive_every=3,
    decoder_depth=1,
    dtype="float32",
    checkpoint_every=5,
)
STEPS = 30
DRIVER = """
import sys, pickle, ray
from mmgic.training.recipes.visual_tokenizer import run
ray.init(address=sys.argv[1], log_to_driver=False)
run(pickle.load(open(sys.argv[2], "rb")))
"""


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """As Ray's workers have, for sums of one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _quick_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")


@pytest.fixture(scope="module")
def make_job(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., TokenizerJob]:
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    (folder / "images" / "deep").mkdir(parents=True)
    for i in range(40):
        pixels = random.integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / ("deep" if i % 2 else ".") / f"{i}.png")
    (folder / "images" / "broken.png").write_text("no image")  # the next one takes its place
    torch.manual_seed(0)
    save_tokenizer(VisualTokenizer(TINY), folder / "encoder")

    def make(output: Path, **changes: object) -> TokenizerJob:
        job = TokenizerJob(
            output=str(output),
            images=str(folder / "images"),
            encoder=str(folder / "encoder"),
            training=SETTINGS,
            held_out=6,
            workers=0,
        )
        return replace(job, **changes)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="module")
def reference(make_job: Callable[..., TokenizerJob], tmp_path_factory: pytest.TempPathFactory) -> TokenizerResult:
    """A run of one process that nobody disturbs."""
    return run(make_job(tmp_path_factory.mktemp("reference") / "run"))


def assert_same_run(job: TokenizerJob, reference: TokenizerResult, tolerance: float) -> None:
    ours, theirs = (read_figures(Path(folder)) for folder in (job.output, Path(reference.folder).parent))
    assert [line["step"] for line in ours] == list(range(STEPS))
    for name in ("cosine", "tokens_per_image", "distance", "perplexity", "codes_used", "revived"):
        assert [line[name] for line in ours] == pytest.approx([line[name] for line in theirs], rel=tolerance), name
    weights, expected = (
        load_file(folder / "model.safetensors") for folder in (Path(job.output) / "tokenizer", Path(reference.folder))
    )
    for name, tensor in expected.items():
        assert (weights[name] - tensor).norm() <= tolerance * tensor.norm(), name


@pytest.mark.usefixtures("ray_cluster")
def test_two_workers_make_the_steps_of_one(
    make_job: Callable[..., TokenizerJob], reference: TokenizerResult, tmp_path: Path
) -> None:
    job = make_job(tmp_path, workers=2, cache=True, max_failures=0)
    result = run(job)
    # features are cached in half precision
    assert_same_run(job, reference, 2e-2)
    assert result.figures["images"] == 4
    assert run(job) == result  # a finished run is not begun again
    assert (tmp_path / "curves.png").stat().st_size > 1000


@pytest.mark.usefixtures("ray_cluster")
def test_a_killed_driver_changes_nothing(
    make_job: Callable[..., TokenizerJob], reference: TokenizerResult, tmp_path: Path
) -> None:
    import pickle

    job = make_job(tmp_path / "run", workers=1)
    (tmp_path / "job.pkl").write_bytes(pickle.dumps(job))
    address = ray.get_runtime_context().gcs_address
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, address, str(tmp_path / "job.pkl")], env=dict(os.environ))
    wait_until(lambda: len(checkpoints(Path(job.output))) > 0 or driver.poll() is not None)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    wait_until(lambda: not training_workers())
    if not (Path(job.output) / "result.json").exists():
        assert len(checkpoints(Path(job.output))) > 0
    run(replace(job, workers=0))
    assert_same_run(job, reference, 0)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 400
    while not condition():
        assert time.monotonic() < deadline, "nothing happened for minutes"
        time.sleep(0.02)


def training_workers() -> list[int]:
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "RayTrainWorker" in " ".join(process.cmdline()):
                found.append(process.pid)
        except psutil.NoSuchProcess:
            continue
    return found


def test_the_result_loads_in_both_layouts(reference: TokenizerResult, tmp_path: Path) -> None:
    folder = Path(reference.folder)
    model = load_tokenizer(folder)
    assert len(save_lavit(folder, tmp_path)) == 2  # a feature decoder's file needs a trained projection
    other = VisualTokenizer(TINY).eval()
    parts = [torch.load(tmp_path / name, weights_only=True) for name in LAVIT_FILES]
    assert not any(key.startswith("encoder.") for part in parts for key in part)
    assert other.load_lavit({**parts[0], **parts[1]}) == []
    pixels = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    ours, theirs = (m.encode(pixels, selection="argmax") for m in (model, other))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    decoder = FeatureDecoder(decoder_config(TINY, SETTINGS.decoder_depth, TINY.width))
    decoder.load_state_dict(load_file(folder / "decoder.safetensors"))


def test_another_run_in_the_same_folder_is_refused(
    make_job: Callable[..., TokenizerJob], reference: TokenizerResult, tmp_path: Path
) -> None:
    folder = Path(reference.folder).parent
    with pytest.raises(SettingsError, match="another seed"):
        run(make_job(folder, seed=1))
    with pytest.raises(SettingsError, match=r"another training\.keep_ratio"):
        run(make_job(folder, training=replace(SETTINGS, keep_ratio=0.5)))
    with pytest.raises(SettingsError, match="cannot be shared by 3 workers"):
        run(make_job(tmp_path, workers=3))
    with pytest.raises(InputError, match="holds no images"):
        run(make_job(tmp_path, images=str(tmp_path)))
    with pytest.raises(InputError, match="is no visual tokenizer"):
        run(make_job(tmp_path, encoder=str(tmp_path)))


def test_images_come_in_the_order_of_their_hashes_wherever_the_folder_lies(
    make_job: Callable[..., TokenizerJob], tmp_path: Path
) -> None:
    import shutil

    source = Path(make_job(tmp_path).images)
    shutil.copytree(source, tmp_path / "moved")
    here, there = list_images(str(source)), list_images(str(tmp_path / "moved"))
    assert len(here) == 41
    assert [Path(p).relative_to(source) for p in here] == [Path(p).relative_to(tmp_path / "moved") for p in there]
    assert here != sorted(here)
