"""Models compute where settings say; what a process can see decides nothing."""

import re
from pathlib import Path

import pytest
import torch

from mmgic.devices import device_of
from mmgic.errors import InputError
from mmgic.evaluation.engines import TransformersEngine, load_engine
from mmgic.settings import VisionSettings
from mmgic.training.export import export_untrained
from mmgic.vision.tokenize import TokenizeImages

PACKAGE = Path(__file__).resolve().parents[1] / "mmgic"
TOY = PACKAGE / "toy" / "weights"


@pytest.fixture
def gpus_in_sight(monkeypatch):
    """A machine with GPUs that Ray gave to somebody else; to touch one of them here raises."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_what_is_visible_decides_nothing(gpus_in_sight):
    assert device_of(0) == "cpu"
    assert device_of(0.25) == device_of(1) == "cuda"


def test_a_gpu_that_is_not_there_is_refused(no_gpu):
    assert device_of(0) == "cpu"
    with pytest.raises(InputError, match="none that PyTorch can use"):
        device_of(1)
    with pytest.raises(InputError, match=r"cluster\.tokenizer_gpus"):
        TokenizeImages(str(TOY / "tokenizer"), VisionSettings(), seed=0, gpus=0.5)
    with pytest.raises(InputError, match="evaluation_gpus=0"):
        load_engine("transformers", TOY / "llama", batch_size=1, gpus=1)


def test_workers_without_a_gpu_stay_on_the_cpu(gpus_in_sight, tiny_run, tmp_path):
    assert TokenizeImages(str(TOY / "tokenizer"), VisionSettings(), seed=0).device == "cpu"
    engine = load_engine("transformers", export_untrained(tiny_run(tmp_path), tmp_path / "model"), batch_size=1)
    assert isinstance(engine, TransformersEngine)
    assert engine.device == "cpu"
    assert len(engine.generate([[1, 5]], 2, [])[0]) == 2


def test_no_other_module_asks_what_is_visible():
    asks = re.compile(r"cuda\.is_available")
    assert [path.name for path in PACKAGE.rglob("*.py") if asks.search(path.read_text())] == ["devices.py"]
