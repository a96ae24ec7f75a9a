"""Tokenizer training on Ray: the same figures with workers as without, after a killed driver, and in LaVIT's names."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
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
from mmgic.settings import Settings, SettingsError, TokenizerTraining, merge, to_yaml
from mmgic.training.checkpoints import checkpoints
from mmgic.training.metrics import read_metrics
from mmgic.training.recipes.visual_tokenizer import TOKENIZER, TokenizerResult
from mmgic.training.run import run
from mmgic.vision import VisionConfig, VisualTokenizer, load_tokenizer, save_tokenizer
from mmgic.vision.folders import LAVIT_FILES
from mmgic.vision.lavit.exporting import save_lavit
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
TRAINING = TokenizerTraining(
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
    held_out=6,
)
MakeRun = Callable[..., Settings]
STEPS = 30
DRIVER = """
import sys, ray
from mmgic.settings import Settings, load_settings
from mmgic.training.recipes.visual_tokenizer import TOKENIZER
from mmgic.training.run import run
ray.init(address=sys.argv[1], log_to_driver=False)
run(TOKENIZER, load_settings(Settings(), sys.argv[2]))
"""


@pytest.fixture(scope="module")
def make_run(tmp_path_factory: pytest.TempPathFactory) -> MakeRun:
    """Makes settings of a run in `output`, with changes of `tokenizer_training` and a number of workers."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    (folder / "images" / "deep").mkdir(parents=True)
    for i in range(40):
        pixels = random.integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / ("deep" if i % 2 else ".") / f"{i}.png")
    (folder / "images" / "broken.png").write_text("no image")  # the next one takes its place
    torch.manual_seed(0)
    save_tokenizer(VisualTokenizer(TINY), folder / "encoder")
    training = replace(TRAINING, images=str(folder / "images"), encoder=str(folder / "encoder"))

    def make(output: Path, workers: int = 0, **changes: object) -> Settings:
        settings = Settings(preset="tiny", output=str(output), tokenizer_training=training)
        cluster = {"training_workers": workers, "training_gpus": 0}
        return merge(settings, {"tokenizer_training": changes, "cluster": cluster})

    return make


@pytest.fixture(scope="module")
def reference(make_run: MakeRun, tmp_path_factory: pytest.TempPathFactory) -> TokenizerResult:
    """A run of one process that nobody disturbs."""
    return run(TOKENIZER, make_run(tmp_path_factory.mktemp("reference")))


def assert_same_run(result: TokenizerResult, reference: TokenizerResult, tolerance: float) -> None:
    ours, theirs = (read_metrics(Path(r.run_folder)) for r in (result, reference))
    assert [line["step"] for line in ours] == list(range(STEPS))
    for name in ("cosine", "tokens_per_image", "distance", "perplexity", "codes_used", "revived"):
        assert [line[name] for line in ours] == pytest.approx([line[name] for line in theirs], rel=tolerance), name
    weights, expected = (load_file(r.model / "model.safetensors") for r in (result, reference))
    for name, tensor in expected.items():
        assert (weights[name] - tensor).norm() <= tolerance * tensor.norm(), name


@pytest.mark.usefixtures("ray_cluster")
def test_two_workers_make_the_steps_of_one(make_run: MakeRun, reference: TokenizerResult, tmp_path: Path) -> None:
    settings = make_run(tmp_path, workers=2, cache=True, max_failures=0)
    result = run(TOKENIZER, settings)
    # features are cached in half precision
    assert_same_run(result, reference, 2e-2)
    assert result.figures["images"] == 4
    assert run(TOKENIZER, settings) == result  # a finished run is not begun again
    assert (Path(result.run_folder) / "curves.png").stat().st_size > 1000


@pytest.mark.usefixtures("ray_cluster")
def test_a_killed_driver_changes_nothing(make_run: MakeRun, reference: TokenizerResult, tmp_path: Path) -> None:
    settings = make_run(tmp_path / "run", workers=1)
    (tmp_path / "settings.yaml").write_text(to_yaml(settings))
    folder = TOKENIZER.run_folder(settings)
    address = ray.get_runtime_context().gcs_address
    command = [sys.executable, "-c", DRIVER, address, str(tmp_path / "settings.yaml")]
    driver = subprocess.Popen(command, env=dict(os.environ))
    wait_until(lambda: len(checkpoints(folder)) > 0 or driver.poll() is not None)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    wait_until(lambda: not training_workers())
    if not (folder / "result.json").exists():
        assert len(checkpoints(folder)) > 0
    assert_same_run(run(TOKENIZER, make_run(tmp_path / "run")), reference, 0)


KILLED = """
import os, signal, sys
from fsspec.implementations.local import LocalFileSystem
from mmgic.settings import Settings, load_settings
from mmgic.training.recipes.visual_tokenizer import TOKENIZER
from mmgic.training.run import run

move = LocalFileSystem.mv

def killed(self, source, target, **options):
    if target.endswith("result.json"):
        os.kill(os.getpid(), signal.SIGKILL)
    move(self, source, target, **options)

LocalFileSystem.mv = killed
run(TOKENIZER, load_settings(Settings(), sys.argv[1]))
"""


def test_a_kill_while_the_result_is_written_changes_nothing(
    make_run: MakeRun, reference: TokenizerResult, tmp_path: Path
) -> None:
    settings = make_run(tmp_path)
    (tmp_path / "settings.yaml").write_text(to_yaml(settings))
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "settings.yaml")], check=False)
    assert killed.returncode == -signal.SIGKILL
    folder = TOKENIZER.run_folder(settings)
    assert checkpoints(folder)
    assert not (folder / "result.json").exists()
    assert not (folder / "model").exists()
    result = run(TOKENIZER, settings)
    assert_same_run(result, reference, 0)
    # a disk that loses the end of a file may still cut it
    (folder / "result.json").write_text('{"steps": 30, "figu')
    with pytest.raises(InputError, match=r"result\.json is no result of a training run; remove the file"):
        run(TOKENIZER, settings)
    (folder / "result.json").unlink()
    assert run(TOKENIZER, settings) == result


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
    folder = reference.model
    model = load_tokenizer(folder)
    assert len(save_lavit(folder, tmp_path)) == 2  # a feature decoder's file needs a trained projection
    other = VisualTokenizer(TINY).eval()
    parts = [torch.load(tmp_path / name, weights_only=True) for name in LAVIT_FILES]
    assert not any(key.startswith("encoder.") for part in parts for key in part)
    assert other.load_lavit({**parts[0], **parts[1]}) == []
    pixels = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    ours, theirs = (m.encode(pixels, selection="argmax") for m in (model, other))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    decoder = FeatureDecoder(decoder_config(TINY, TRAINING.decoder_depth, TINY.width))
    decoder.load_state_dict(load_file(folder / "decoder.safetensors"))


def test_another_run_in_the_same_folder_is_refused(
    make_run: MakeRun, reference: TokenizerResult, tmp_path: Path
) -> None:
    output = Path(reference.run_folder).parents[1]
    with pytest.raises(SettingsError, match="seed = 0, not 1"):
        run(TOKENIZER, replace(make_run(output), seed=1))
    with pytest.raises(SettingsError, match=r"tokenizer_training\.keep_ratio = 0.3333333333333333, not 0.5"):
        run(TOKENIZER, make_run(output, keep_ratio=0.5))
    torch.manual_seed(1)
    save_tokenizer(VisualTokenizer(TINY), tmp_path / "other")
    with pytest.raises(SettingsError, match="holds a run with another encoder"):
        run(TOKENIZER, make_run(output, encoder=str(tmp_path / "other")))
    with pytest.raises(SettingsError, match="cannot be shared by 3 workers"):
        run(TOKENIZER, make_run(tmp_path, workers=3))
    with pytest.raises(InputError, match="holds no images"):
        run(TOKENIZER, make_run(tmp_path, images=str(tmp_path)))
    with pytest.raises(SettingsError, match=r"'tokenizer_training\.images' is empty"):
        run(TOKENIZER, make_run(tmp_path, images=""))
    with pytest.raises(InputError, match="is no visual tokenizer"):
        run(TOKENIZER, make_run(tmp_path, encoder=str(tmp_path)))


def test_images_come_in_the_order_of_their_hashes_wherever_the_folder_lies(make_run: MakeRun, tmp_path: Path) -> None:
    import shutil

    source = Path(make_run(tmp_path).tokenizer_training.images)
    shutil.copytree(source, tmp_path / "moved")
    here, there = list_images(str(source)), list_images(str(tmp_path / "moved"))
    assert len(here) == 41
    assert [Path(p).relative_to(source) for p in here] == [Path(p).relative_to(tmp_path / "moved") for p in there]
    assert here != sorted(here)
