"""models/lavit/visual_tokenizer: LaVIT's visual tokenizer as released, narrower and of fewer blocks and codes.

The frame, its patches and the number of heads are the release's. Weights are random and bfloat16, as the release's are;
two of them are fitted to toy pictures, so that what they make is a tokenizer's: the selector keeps a third of the
patches, and each code is what some patch is turned into.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mmgic.toy.datasets.samples import World
from mmgic.toy.world.render import render
from mmgic.vision.folders import DECODER_FILES
from mmgic.vision.lavit.exporting import lavit_tensors
from mmgic.vision.network.config import VisionConfig
from mmgic.vision.network.feature_decoder import DecoderConfig, make_decoder
from mmgic.vision.network.tokenizer import VisualTokenizer
from mmgic.vision.preprocess import preprocess

CONFIG = replace(VisionConfig(), width=96, depth=2, mlp_hidden=192, merger_depth=1, codebook_size=256)
KEPT = 1 / 3  # of the patches, LaVIT's target
_PICTURES = 16
_SEED = 0
_DECODER = DecoderConfig(width=96, depth=1, mlp_hidden=192, feature_dim=96, prompt_dim=48)


def write_lavit(folder: Path, world: World) -> None:
    """Writes eva_vitg_psz14.bin, tokenizer_encoder.bin and both decoders' files; no config.json, as in the release."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [render(sample.scene) for sample in world.samples(range(_PICTURES))]
    pixels = torch.stack([preprocess(picture, CONFIG.image_size) for picture in pictures])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        model = VisualTokenizer(CONFIG).eval()
        decoders = [make_decoder(replace(_DECODER, pooled_dim=size)).state_dict() for size in (0, 80)]
    _fit(model, pixels)
    files = lavit_tensors(model.state_dict()) | dict(zip(DECODER_FILES, decoders, strict=True))
    for name, tensors in files.items():
        torch.save({key: value.bfloat16().contiguous() for key, value in tensors.items()}, folder / name)


@torch.no_grad()
def _fit(model: VisualTokenizer, pixels: Tensor) -> None:
    features = model.patch_features(pixels)
    last = model.token_predictor.out_conv[4]
    keep, drop = model.token_predictor(features).unbind(-1)
    last.weight *= 2 / (keep - drop).std()  # patches differ in how likely they are kept
    keep, drop = model.token_predictor(features).unbind(-1)
    shifts = torch.linspace(-8, 8, 321) - (keep - drop).median()
    kept = torch.stack([torch.sigmoid(keep - drop + shift).mean() for shift in shifts])
    last.bias += torch.tensor([0.5, -0.5]) * shifts[(kept - KEPT).abs().argmin()]
    merged = model.causal_encoder(features, torch.ones(features.shape[:2])).flatten(0, 1)
    projected = F.normalize(model.encode_task_layer(merged), dim=-1)
    chosen = torch.linspace(0, len(projected) - 1, CONFIG.codebook_size).long()
    model.quantize.embedding.weight.copy_(projected[chosen])
