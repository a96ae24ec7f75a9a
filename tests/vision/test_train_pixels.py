"""Training of the pixel decoder in one process: steps, checkpoints, and the folder that it leaves."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from mmgic.errors import InputError
from mmgic.settings import SettingsError
from mmgic.training import pixel_decoder
from mmgic.training.checkpoint import checkpoints
from mmgic.training.pixel_decoder import PixelJob, run
from mmgic.vision import save_tokenizer
from mmgic.vision.curves import read_figures
from mmgic.vision.pixels import load_pixel_decoder, save_pixel_decoder
from mmgic.vision.train_pixels import PixelTraining


@pytest.fixture
def job(small, tiny_pixels, tmp_path):
    (tmp_path / "images").mkdir()
    for i in range(6):
        pixels = np.random.default_rng(i).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i}.png")
    save_tokenizer(small, tmp_path / "tokenizer")
    save_pixel_decoder(tiny_pixels(), tmp_path / "start")
    return PixelJob(
        output=str(tmp_path / "run"),
        images=str(tmp_path / "images"),
        tokenizer=str(tmp_path / "tokenizer"),
        start=str(tmp_path / "start"),
        training=PixelTraining(
            steps=6, batch_size=4, learning_rate=1e-3, warmup=2, dtype="float32", checkpoint_every=2
        ),
        workers=0,
    )


def test_an_interrupted_run_makes_the_same_steps(small, job, tmp_path, monkeypatch):
    whole = replace(job, output=str(tmp_path / "whole"))
    folder = run(whole)
    assert len(read_figures(tmp_path / "whole")) == 6
    trained, start = load_pixel_decoder(folder), load_pixel_decoder(job.start)
    assert torch.equal(trained.codebook, small.quantize.embedding.weight)
    moved = [
        not torch.equal(a, b)
        for one, other in ((trained.unet, start.unet), (trained.decoder, start.decoder))
        for a, b in zip(one.parameters(), other.parameters(), strict=True)
    ]
    assert sum(moved) > 0.9 * len(moved)
    assert not torch.equal(trained.uncond, start.uncond)
    frozen = zip(trained.vae.parameters(), start.vae.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in frozen)

    step = pixel_decoder.PixelLearner.step

    def interrupted(learner, number, loaded):
        if number == 3:
            raise KeyboardInterrupt
        return step(learner, number, loaded)

    monkeypatch.setattr(pixel_decoder.PixelLearner, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(job)
    assert [folder.name for folder in checkpoints(tmp_path / "run")] == ["checkpoint_00000002"]
    monkeypatch.setattr(pixel_decoder.PixelLearner, "step", step)
    again = load_pixel_decoder(run(job))
    assert read_figures(tmp_path / "run") == read_figures(tmp_path / "whole")
    for a, b in zip(again.unet.parameters(), trained.unet.parameters(), strict=True):
        assert torch.equal(a, b)
    assert json.loads((folder / "metrics.json").read_text())["step"] == 5
    assert run(job) == tmp_path / "run" / "pixels"


def test_what_does_not_fit_together_is_refused(job, tiny_pixels, tmp_path):
    save_pixel_decoder(tiny_pixels(codes=9), tmp_path / "other")
    with pytest.raises(InputError, match="codes of other sizes"):
        run(replace(job, start=str(tmp_path / "other")))
    with pytest.raises(SettingsError, match="'steps' is 0; it must be at least 1"):
        run(replace(job, training=replace(job.training, steps=0)))
    with pytest.raises(InputError, match="holds no images"):
        run(replace(job, images=str(tmp_path / "start")))


@pytest.mark.parametrize(
    "changes",
    [
        {"warmup": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"unconditional_share": 1.5},
        {"report_every": 0},
        {"checkpoint_every": 0},
        {"keep_checkpoints": 0},
    ],
)
def test_settings_that_would_fail_later_are_refused_at_once(changes):
    with pytest.raises(SettingsError, match=f"'{next(iter(changes))}' is .* must"):
        PixelTraining(**changes)
