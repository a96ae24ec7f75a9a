"""Kept patches and reconstructions as pictures."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from mmgic.errors import InputError
from mmgic.vision.pixels import PixelDecoder
from mmgic.vision.preprocess import preprocess
from mmgic.vision.reconstruct import (
    DROPPED,
    Reconstruction,
    Tokens,
    data_uri,
    panel,
    png,
    reconstruct,
    show_kept,
    tokenize_image,
)


@pytest.fixture(scope="module")
def image():
    noise = np.random.default_rng(0).integers(0, 256, (8, 10, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((50, 40), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def pixels(small, tiny_pixels):
    made = tiny_pixels()
    rows = small.quantize.embedding.weight.detach()
    return PixelDecoder(made.config, made.decoder, rows, made.unet, made.vae, made.scheduler, made.uncond, "cpu")


def test_argmax_tokens_are_the_tokenizers(small, image):
    tokens = tokenize_image(image, small, selection="argmax")
    assert tokens.codes == small.encode(preprocess(image, 32)[None], selection="argmax")[0].tolist()
    assert tokens.kept.shape == (4, 4)
    assert tokens.kept.sum() == len(tokens.codes)


def test_sampled_tokens_belong_to_seed_and_name(small, image):
    def codes(**options):
        return tokenize_image(image, small, **options).codes

    torch.manual_seed(0)
    first = codes(seed=1, name="a")
    torch.manual_seed(1)
    assert first == codes(seed=1, name="a")
    others = [codes(seed=seed, name=name) for seed, name in ((1, "b"), (2, "a"), (3, "a"))]
    assert any(first != other for other in others)


def test_reconstruction_is_drawn_from_the_codes_alone(small, image, pixels):
    result = reconstruct(image, small, pixels, steps=2, name="a")
    assert result.original.size == (32, 32)
    drawn = pixels.detokenize([result.tokens.codes], steps=2, names=["a"])[0]
    assert result.picture.tobytes() == drawn.tobytes()
    assert reconstruct(image, small, pixels, steps=2, size=(8, 24)).picture.size == (24, 8)


def test_a_decoder_of_another_tokenizer_is_refused(small, image, tiny_pixels):
    for codes in (50, 51):
        with pytest.raises(InputError, match="another visual tokenizer"):
            reconstruct(image, small, tiny_pixels(codes=codes))


def test_dropped_patches_are_painted_over(image):
    kept = np.zeros((4, 4), bool)
    kept[1, 2] = True
    frame = image.resize((64, 64))
    shown = np.asarray(show_kept(frame, kept))
    assert (shown[16:32, 32:48] == np.asarray(frame)[16:32, 32:48]).all()
    shown = shown.copy()
    shown[16:32, 32:48] = DROPPED
    assert (shown == DROPPED).all()


def test_panel_and_its_bytes(image):
    kept = np.ones((4, 4), bool)
    result = Reconstruction(Tokens([1] * 16, kept), image, Image.new("RGB", (8, 8), (10, 200, 30)))
    made = panel(result, edge=40, gap=4)
    assert made.size == (128, 40)
    assert made.getpixel((120, 20)) == (10, 200, 30)
    assert made.getpixel((42, 20)) == (255, 255, 255)
    assert np.array_equal(np.asarray(made)[:, :40], np.asarray(made)[:, 44:84])
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(made)))), np.asarray(made))
    head, _, content = data_uri(made).partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(content) == png(made)
