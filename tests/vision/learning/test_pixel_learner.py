"""Training of the pixel decoder in one process: steps, checkpoints, and the folder that it leaves."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from mmgic.errors import InputError
from mmgic.settings import ClusterSettings, PixelTraining, Settings, SettingsError
from mmgic.training.checkpoints import checkpoints
from mmgic.training.metrics import read_metrics
from mmgic.training.recipes import pixel_decoder
from mmgic.training.recipes.pixel_decoder import PIXEL_DECODER
from mmgic.training.run import run
from mmgic.vision import save_tokenizer
from mmgic.vision.pixels.pixel_decoder import load_pixel_decoder, save_pixel_decoder


@pytest.fixture
def job(small, tiny_pixels, tmp_path):
    (tmp_path / "images").mkdir()
    for i in range(6):
        pixels = np.random.default_rng(i).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i}.png")
    save_tokenizer(small, tmp_path / "tokenizer")
    save_pixel_decoder(tiny_pixels(), tmp_path / "start")
    return Settings(
        output=str(tmp_path / "run"),
        pixel_training=PixelTraining(
            images=str(tmp_path / "images"),
            tokenizer=str(tmp_path / "tokenizer"),
            start=str(tmp_path / "start"),
            steps=6,
            batch_size=4,
            learning_rate=1e-3,
            warmup_steps=2,
            dtype="float32",
            checkpoint_every=2,
        ),
        cluster=ClusterSettings(training_workers=0, training_gpus=0),
    )


def train(settings, output=None, **changes):
    """The trained pixel decoder's folder."""
    changed = replace(settings, pixel_training=replace(settings.pixel_training, **changes))
    return run(PIXEL_DECODER, replace(changed, output=str(output or settings.output))).model


def test_an_interrupted_run_makes_the_same_steps(small, job, tmp_path, monkeypatch):
    folder = train(job, tmp_path / "whole")
    assert len(read_metrics(folder.parent)) == 6
    trained, start = load_pixel_decoder(folder), load_pixel_decoder(job.pixel_training.start)
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
        train(job)
    assert [folder.name for folder in checkpoints(PIXEL_DECODER.run_folder(job))] == ["checkpoint_00000002"]
    monkeypatch.setattr(pixel_decoder.PixelLearner, "step", step)
    again = load_pixel_decoder(train(job))
    assert read_metrics(PIXEL_DECODER.run_folder(job)) == read_metrics(folder.parent)
    for a, b in zip(again.unet.parameters(), trained.unet.parameters(), strict=True):
        assert torch.equal(a, b)
    assert json.loads((folder / "metrics.json").read_text())["step"] == 5
    assert train(job) == tmp_path / "run" / "training" / "pixels" / "model"


def test_what_does_not_fit_together_is_refused(job, tiny_pixels, tmp_path):
    save_pixel_decoder(tiny_pixels(codes=9), tmp_path / "other")
    with pytest.raises(InputError, match="codes of other sizes"):
        train(job, start=str(tmp_path / "other"))
    with pytest.raises(SettingsError, match="'steps' is 0; it must be at least 1"):
        train(job, steps=0)
    with pytest.raises(InputError, match="holds no images"):
        train(job, images=str(tmp_path / "start"))


@pytest.mark.parametrize(
    "changes",
    [
        {"warmup_steps": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"unconditional_share": 1.5},
        {"checkpoint_every": 0},
        {"keep_checkpoints": 0},
    ],
)
def test_settings_that_would_fail_later_are_refused_at_once(changes):
    with pytest.raises(SettingsError, match=f"'{next(iter(changes))}' is .* must"):
        PixelTraining(**changes)


def test_training_begins_with_the_feature_decoder_of_the_tokenizer(job, tiny_pixels, tmp_path):
    start = load_pixel_decoder(job.pixel_training.start)
    trunk = {k: torch.rand_like(v) for k, v in start.decoder.state_dict().items() if not k.startswith("unet_")}
    save_file(trunk, tmp_path / "tokenizer" / "decoder.safetensors")
    trained = load_pixel_decoder(train(job, steps=1, learning_rate=1e-12)).decoder.state_dict()
    for key, value in trained.items():
        expected = trunk.get(key, start.decoder.state_dict()[key])
        assert torch.allclose(value, expected, atol=1e-6), key

    trunk.pop("query_embed")
    save_file(trunk, tmp_path / "tokenizer" / "decoder.safetensors")
    with pytest.raises(InputError, match="of other sizes than the pixel decoder"):
        train(job, tmp_path / "other")


def test_a_run_goes_on_with_the_images_that_it_began_with(job, tmp_path):
    train(job, steps=1)
    (tmp_path / "images" / "0.png").unlink()
    with pytest.raises(SettingsError, match="another list of images"):
        train(job, steps=1)


def test_the_first_size_is_a_square(job, tiny_pixels, tmp_path):
    pixels = tiny_pixels()
    pixels.config = replace(pixels.config, sizes=((8, 24), (16, 16)))
    save_pixel_decoder(pixels, tmp_path / "wide")
    with pytest.raises(InputError, match="takes a square first size"):
        train(job, start=str(tmp_path / "wide"))


def test_what_is_drawn_belongs_to_the_image_and_not_to_the_worker(small, tiny_pixels, job, monkeypatch):
    """A worker of two makes of its half of the batch what one worker makes of it."""
    from mmgic.vision.learning import pixel_learner as train_pixels

    seen = []

    def record(module, scheduler, latents, codes, draws):
        seen.append((codes, draws))
        return sum(p.sum() for p in module.parameters()) * 0

    monkeypatch.setattr(train_pixels, "loss_of_draws", record)
    pixels = torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    large = pixels[..., :16, :16]
    for workers, rank in ((1, 0), (2, 0), (2, 1)):
        learner = train_pixels.PixelLearner(tiny_pixels(), small, None, job.pixel_training, 0, torch.device("cpu"))
        learner.rank = rank
        monkeypatch.setattr(train_pixels, "workers", lambda workers=workers: workers)
        part = slice(rank * 4 // workers, (rank + 1) * 4 // workers)
        learner.step(3, (pixels[part], large[part]))
        monkeypatch.undo()
        monkeypatch.setattr(train_pixels, "loss_of_draws", record)
    (codes, draws), *halves = seen
    assert [c.tolist() for c in codes] == [c.tolist() for half, _ in halves for c in half]
    for i, whole in enumerate(draws):
        assert torch.equal(whole, torch.cat([half[i] for _, half in halves]))


def test_micro_batches_make_the_step_of_the_whole_batch(job, tmp_path):
    """Of 4 images: three and one, against all at once."""
    folders = []
    for size in (3, 4):
        folders.append(train(job, tmp_path / f"by {size}", steps=2, micro_batch=size))
    ours, theirs = ([line["loss"] for line in read_metrics(folder.parent)] for folder in folders)
    assert ours == pytest.approx(theirs, rel=1e-4)
    ours, theirs = (line["grad_norm"] for line in (read_metrics(folder.parent)[0] for folder in folders))
    assert ours == pytest.approx(theirs, rel=1e-4)
