"""The toy world's pixel decoder: its autoencoder learns, and the shipped weights draw what they were shown."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import mmgic
from mmgic.toy.models import autoencoder
from mmgic.toy.models.pairs import make_pictures
from mmgic.toy.models.pixels import decoder_config, train_trunk
from mmgic.vision import VisionConfig, load_tokenizer
from mmgic.vision.network.feature_decoder import LowresDecoder
from mmgic.vision.pixels.pixel_decoder import load_pixel_decoder
from mmgic.vision.reconstruct import reconstruct

WEIGHTS = Path(mmgic.__file__).parent / "toy" / "weights"


def pictures(scenes, split="train", seed=5):
    return torch.stack([picture.pixels for picture in make_pictures(seed, split, scenes, 64)])


def test_the_autoencoder_learns_and_scales_its_latents():
    torch.manual_seed(0)
    vae, shown = autoencoder.make_vae(), pictures(20)
    figures = []
    autoencoder.train_vae(vae, shown, 8, torch.Generator().manual_seed(0), lambda step, figure: figures.append(figure))
    assert figures[-1] > figures[0]
    latents = autoencoder.encode_latents(vae, shown)
    assert latents.shape == (40, 4, 16, 16)
    assert (latents * vae.config.scaling_factor).std().item() == pytest.approx(1, abs=0.01)
    encoder = [parameter.clone() for parameter in vae.encoder.parameters()]
    autoencoder.tune_vae_decoder(vae, shown, latents, 3, torch.Generator().manual_seed(0), lambda step, figure: None)
    assert all(a.equal(b) for a, b in zip(encoder, vae.encoder.parameters(), strict=True))


def test_the_feature_decoder_learns_from_codes():
    torch.manual_seed(0)
    config = VisionConfig(
        image_size=24, patch_size=8, width=32, merger_heads=2, num_heads=2, mlp_hidden=24, codebook_dim=6
    )
    decoder = LowresDecoder(decoder_config(config))
    codebook, seen = torch.randn(5, 6), torch.randn(5, 9, 32)
    codes = [torch.tensor([code]) for code in range(5)]  # each code tells all of its picture
    figures = []
    generator = torch.Generator().manual_seed(0)
    train_trunk(decoder, codebook, codes, seen, 200, generator, lambda step, figure: figures.append(figure))
    assert figures[0] < 0.2
    assert figures[-1] > figures[0] + 0.2


def test_shipped_weights_draw_what_their_codes_say():
    """Nearer to the picture that the codes were made from than to the picture of other codes."""
    tokenizer, pixels = load_tokenizer(WEIGHTS / "tokenizer"), load_pixel_decoder(WEIGHTS / "pixels", "cpu")
    originals = [Image.fromarray(p.permute(1, 2, 0).numpy()) for p in pictures(12, "eval", 7)]
    drawn = [reconstruct(image, tokenizer, pixels, steps=10, name=str(i)) for i, image in enumerate(originals)]
    distances = np.array(
        [[np.abs(np.asarray(d.picture, float) - np.asarray(o, float)).mean() for o in originals] for d in drawn]
    )
    own = np.diag(distances)
    others = (distances.sum(axis=1) - own) / (len(originals) - 1)
    assert (own < others).mean() >= 0.9
    # among 24 pictures the own one would be the nearest of a random drawing once
    assert (distances.argmin(axis=1) == np.arange(len(originals))).sum() >= 5
