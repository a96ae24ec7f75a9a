"""The toy tokenizer that is shipped: its figures on scenes that it never saw."""

import json
from pathlib import Path

import torch

import mmgic
from mmgic.toy.models.pairs import make_pictures
from mmgic.vision import load_tokenizer
from mmgic.vision.preprocess import normalise

FOLDER = Path(mmgic.__file__).parent / "toy" / "weights" / "tokenizer"


def test_shipped_tokenizer_uses_its_codebook_and_keeps_a_third():
    model = load_tokenizer(FOLDER)
    metrics = json.loads((FOLDER / "metrics.json").read_text())
    assert metrics["codes_used"] > 0.5
    pictures = list(make_pictures(7, "eval", 60, model.config.image_size))
    codes = model.encode(
        normalise(torch.stack([picture.pixels for picture in pictures])), generator=torch.Generator().manual_seed(0)
    )
    assert len(torch.cat(codes).unique()) > 0.5 * model.config.codebook_size
    mean = sum(map(len, codes)) / len(codes)
    assert abs(mean - metrics["tokens_per_picture"]["mean"]) < 3
    assert torch.allclose(model.quantize.embedding.weight.norm(dim=1), torch.ones(512), atol=1e-5)
