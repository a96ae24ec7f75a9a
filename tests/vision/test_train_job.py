"""jobs/train_tokenizer.py as a user calls it, in this process, on small random models."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmgic.cli import main
from mmgic.vision import save_tokenizer
from mmgic.vision.pixels.pixel_decoder import PixelDecoder, save_pixel_decoder

JOB = Path(__file__).resolve().parents[2] / "jobs" / "train_tokenizer.py"


@pytest.fixture
def train(small, tiny_pixels, tmp_path, monkeypatch):
    """Runs the job with --pixels and `overrides`, and returns its exit code."""
    made = tiny_pixels()
    rows = small.quantize.embedding.weight.detach()
    pixels = PixelDecoder(made.config, made.decoder, rows, made.unet, made.vae, made.scheduler, made.uncond, "cpu")
    save_tokenizer(small, tmp_path / "encoder")
    save_pixel_decoder(pixels, tmp_path / "pixels")
    (tmp_path / "images").mkdir()
    generator = np.random.default_rng(0)
    for i in range(40):
        noise = Image.fromarray(generator.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        noise.resize((32, 32)).save(tmp_path / "images" / f"{i}.png")
    (tmp_path / "few.yaml").write_text(
        f"""
        output: {tmp_path}/out
        toy: {{scenes: 0}}
        cluster: {{training_workers: 0, training_gpus: 0}}
        tokenizer_training:
          {{images: {tmp_path}/images, encoder: {tmp_path}/encoder, continuous_steps: 2, quantized_steps: 2,
            decoder_steps: 0, batch_size: 4, warmup_steps: 1, vectors_per_code: 1, decoder: lavit, decoder_depth: 1,
            target: features, cache: false}}
        pixel_training: {{start: {tmp_path}/pixels, steps: 2, batch_size: 2, warmup_steps: 1}}
        """
    )

    def call(*overrides):
        flags = [flag for override in overrides for flag in ("--set", override)]
        monkeypatch.setattr(sys, "argv", [str(JOB), "--pixels", "--config", str(tmp_path / "few.yaml"), *flags])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(JOB), run_name="__main__")
        return ended.value.code

    return call


def test_the_pixel_decoder_is_checked_before_the_tokenizer_is_trained(train, tiny_pixels, tmp_path, capsys):
    save_pixel_decoder(tiny_pixels(codes=51), tmp_path / "more")
    for override, message in (
        (f"pixel_training.start={tmp_path}/none", "is no pixel decoder"),
        ("pixel_training.start=", "'pixel_training.start' is empty"),
        (f"pixel_training.start={tmp_path}/more", "codes of other sizes"),
        ("tokenizer_training.decoder_depth=3", "has depth 1, the one to be trained 3"),
    ):
        assert train(override) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_both_are_trained_and_draw_together(train, tmp_path, capsys):
    assert train() == 0
    lines = dict(line.split(": ") for line in capsys.readouterr().out.splitlines() if line.startswith(("tok", "pix")))
    made = ["--tokenizer", lines["tokenizer"], "--pixels", lines["pixel decoder"], "--steps", "2"]
    drawn = tmp_path / "r.png"
    assert main(["vision", "reconstruct", str(tmp_path / "images" / "3.png"), "--output", str(drawn), *made]) == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<summary>tokenizer, 4 steps</summary>" in page
    assert "<summary>pixels, 2 steps</summary>" in page
    assert train() == 0  # both are there
    assert train("tokenizer_training.batch_sizes=2") == 2
    assert "did you mean 'tokenizer_training.batch_size'" in capsys.readouterr().err
    assert train("tokenizer_training.batch_size") == 2
    assert "'tokenizer_training.batch_size' is no override; write --set" in capsys.readouterr().err
