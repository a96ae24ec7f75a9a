"""The example of docs/vision.md runs as it stands."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmgic.presets import TOY_WEIGHTS
from mmgic.vision import save_tokenizer
from mmgic.vision.pixels.pixel_decoder import PixelDecoder, save_pixel_decoder

DOCS = Path(__file__).resolve().parents[2] / "docs" / "vision.md"


@pytest.fixture(params=["random", "toy"])
def models(request, small, tiny_pixels, tmp_path):
    """A folder `models/lavit_imported` with the parts that the example reads."""
    folder = tmp_path / "models" / "lavit_imported"
    if request.param == "random":
        made, rows = tiny_pixels(), small.quantize.embedding.weight.detach()
        save_tokenizer(small, folder / "tokenizer")
        save_pixel_decoder(
            PixelDecoder(made.config, made.decoder, rows, made.unet, made.vae, made.scheduler, made.uncond, "cpu"),
            folder / "pixels_lowres",
        )
    elif not (TOY_WEIGHTS / "pixels").is_dir():
        pytest.skip("the toy world's pixel decoder is not there")
    else:
        folder.mkdir(parents=True)
        (folder / "tokenizer").symlink_to(TOY_WEIGHTS / "tokenizer")
        (folder / "pixels_lowres").symlink_to(TOY_WEIGHTS / "pixels")
    return tmp_path


def test_the_example_runs(models, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(noise).save(models / "photo.jpg")
    monkeypatch.chdir(models)
    [example] = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    found = {}
    exec(example, found)
    assert found["html"].startswith('<img src="data:image/png;base64,')
    assert [picture.mode for picture in found["pictures"]] == ["RGB"]
    assert len(found["pictures"]) == len(found["codes"]) == 1
    assert found["result"].tokens.kept.sum() == len(found["result"].tokens.codes)
