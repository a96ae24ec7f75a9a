"""Continuous visual features for understanding: LaVIT's merger of its own and a projection, without the quantizer.

The merger's weights for understanding differ from those that make codes, under the same names. They therefore live in
an object of their own, which has no codebook, and no code can come out of the wrong merger.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mmgic.errors import InputError
from mmgic.vision.folders import read_weights
from mmgic.vision.network.config import check_shape
from mmgic.vision.network.merger import TokenMerger, in_parts, rows_per_product
from mmgic.vision.network.selector import Selection
from mmgic.vision.network.tokenizer import VisualTokenizer, listing


class ContinuousFeatures(nn.Module):
    """Encoder and selector of `tokenizer`, shared with it, then a merger and `vit_proj` of its own."""

    def __init__(self, tokenizer: VisualTokenizer, out_dim: int) -> None:
        super().__init__()
        self.config = tokenizer.config
        self.trunk_dtype = tokenizer.trunk_dtype
        self.encoder = tokenizer.encoder
        self.token_predictor = tokenizer.token_predictor
        self.causal_encoder = TokenMerger(tokenizer.config)
        self.vit_proj = nn.Linear(tokenizer.config.width, out_dim)

    @torch.inference_mode()
    def forward(
        self,
        pixels: Tensor,
        *,
        selection: Selection = "gumbel",
        noise: Tensor | None = None,
        policy: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> list[Tensor]:
        """Normalised pixels [B, 3, S, S] -> for each image float32 [T, out_dim], a row per kept patch, in raster order.

        Which patches are kept is decided as in `VisualTokenizer.encode`, with the same arguments and errors.
        """
        check_shape("pixels", pixels, (len(pixels), 3, self.config.image_size, self.config.image_size))
        trunk = torch.autocast(pixels.device.type, torch.bfloat16, enabled=self.trunk_dtype is torch.bfloat16)
        with trunk:
            features = self.encoder(pixels)[:, 1:]
        kept = self.token_predictor.select(
            features, selection=selection, noise=noise, policy=policy, generator=generator
        )
        with trunk:
            merged = self.causal_encoder.kept_rows(features, kept.float())
        with torch.autocast(pixels.device.type, enabled=False):
            rows = in_parts(self.vit_proj, rows_per_product(*kept.shape), merged.float())
        return list(rows.split(kept.sum(dim=1).tolist()))


def own_keys(model: ContinuousFeatures) -> set[str]:
    """Names of the weights that are not shared with the tokenizer."""
    return {key for key in model.state_dict() if key.startswith(("causal_encoder.", "vit_proj."))}


def save_continuous(model: ContinuousFeatures, folder: str | Path) -> None:
    """Writes model.safetensors: `causal_encoder.*` and `vit_proj.*`, LaVIT's names."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = model.state_dict()
    save_file({key: state[key].contiguous() for key in own_keys(model)}, folder / "model.safetensors")


def load_continuous(folder: str | Path, tokenizer: VisualTokenizer) -> ContinuousFeatures:
    """The features of `folder`, as `save_continuous` or `mmgic vision import` wrote it, in evaluation mode.

    Raises InputError if the file is missing or belongs to a tokenizer of other sizes.
    """
    path = Path(folder) / "model.safetensors"
    weights = read_weights(path)
    if "vit_proj.weight" not in weights or weights["vit_proj.weight"].ndim != 2:
        raise InputError(f"{path} holds no vit_proj.weight [out, width]; it is no model for understanding")
    model = ContinuousFeatures(tokenizer, len(weights["vit_proj.weight"]))
    state, keys = model.state_dict(), own_keys(model)
    wrong = sorted(keys ^ weights.keys()) + sorted(
        key for key in keys & weights.keys() if weights[key].shape != state[key].shape
    )
    if wrong:
        raise InputError(f"{path} is for another visual tokenizer; missing, unexpected or misshapen: {listing(wrong)}")
    model.load_state_dict(weights, strict=False)
    return model.to(next(tokenizer.parameters()).device).eval()
