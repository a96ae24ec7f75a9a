"""The dynamic visual tokenizer: pixels -> patch features -> kept patches -> merged features -> codes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmgic.errors import InputError
from mmgic.vision.network.config import VisionConfig, check_shape
from mmgic.vision.network.encoder import Encoder
from mmgic.vision.network.merger import TokenMerger, in_parts, rows_per_product
from mmgic.vision.network.quantizer import Quantizer
from mmgic.vision.network.selector import Selection, TokenSelector

# EVA-CLIP's classifier end: part of the released encoder, read by nobody
UNUSED_KEYS = {f"encoder.{name}" for name in ("norm.weight", "norm.bias", "head.weight", "head.bias")}


class VisualTokenizer(nn.Module):
    """LaVIT's visual tokenizer. Submodules are named as LaVIT's checkpoints name them.

    Weights are float32. After `cast_trunk(torch.bfloat16)`, encoder and merger compute under autocast; selector and
    quantizer always compute in float32, in a caller's autocast too, because near ties there decide which patches and
    which codes come out.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk_dtype = torch.float32
        self.encoder = Encoder(config)
        self.token_predictor = TokenSelector(config)
        self.causal_encoder = TokenMerger(config)
        self.encode_task_layer = nn.Sequential(
            nn.Linear(config.width, config.width), nn.Tanh(), nn.Linear(config.width, config.codebook_dim)
        )
        self.quantize = Quantizer(config)

    def encode(
        self,
        pixels: Tensor,
        *,
        selection: Selection = "gumbel",
        noise: Tensor | None = None,
        policy: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> list[Tensor]:
        """Normalised pixels [B, 3, S, S] -> for each image its codes, int64 [T], T between 0 and the number of patches.

        `policy` [B, N] (1 keeps) forces which of the N patches are kept. Otherwise `noise` [B, N, 2] is added to the
        selector's log-probabilities and the larger side wins; "gumbel" without given noise draws it from `generator`
        (LaVIT's own way at inference), "argmax" adds none. Codes follow the raster order of the kept patches.
        Raises InputError if pixels, noise or policy have another shape.
        """
        check_shape("pixels", pixels, (len(pixels), 3, self.config.image_size, self.config.image_size))
        with torch.inference_mode():
            features = self.patch_features(pixels)
            kept = self.token_predictor.select(
                features, selection=selection, noise=noise, policy=policy, generator=generator
            )
        return self.codes(features, kept)

    def codes(self, features: Tensor, kept: Tensor) -> list[Tensor]:
        """Patch features [B, N, width] and the patches to keep, bool [B, N] -> codes as `encode` gives them."""
        with torch.inference_mode():
            with self._trunk(features):
                merged = self.causal_encoder.kept_rows(features, kept.float())
            codes = in_parts(self._nearest, rows_per_product(len(kept), kept.shape[1]), merged.float())
        # a clone made outside is an ordinary tensor, which a caller may also train on
        return list(codes.clone().split(kept.sum(dim=1).tolist()))

    def patch_features(self, pixels: Tensor) -> Tensor:
        """Normalised pixels [B, 3, S, S] -> the encoder's patches [B, N, width], in the trunk's type at least."""
        with self._trunk(pixels):
            return self.encoder(pixels)[:, 1:]

    def cast_trunk(self, dtype: torch.dtype) -> VisualTokenizer:
        """Lets encoder and merger compute in `dtype` from now on. For bfloat16 the weights of their products are kept
        in it, at half the memory; norms and positions stay float32, as does the residual stream. Returns itself."""
        self.trunk_dtype = dtype
        for module in (*self.encoder.modules(), *self.causal_encoder.modules()):
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                module.to(dtype)
        return self

    def compile_trunk(self, backend: str = "inductor") -> VisualTokenizer:
        """Compiles the blocks of encoder and merger, each kind once: blocks of one shape share their code. Worth its
        minute for long runs over batches of one size. Returns itself."""
        for block in (*self.encoder.blocks, *self.causal_encoder.blocks):
            block.compile(dynamic=False, backend=backend)
        return self

    def _nearest(self, merged: Tensor) -> Tensor:
        with torch.autocast(merged.device.type, enabled=False):
            return self.quantize.nearest(self.encode_task_layer(merged))

    def _trunk(self, pixels: Tensor) -> torch.autocast:
        return torch.autocast(pixels.device.type, torch.bfloat16, enabled=self.trunk_dtype is torch.bfloat16)

    def load_lavit(self, state: Mapping[str, Tensor]) -> list[str]:
        """Copies in tensors under LaVIT's names, the encoder's with or without their prefix, of any float type.

        Returns the names that the tokenizer has no place for, after a warning that lists them. (A `vit_proj` among them
        betrays the weights of LaVIT's understanding model, whose merger makes no codes.) Raises like `own_names`.
        """
        found = self.own_names(state)
        own = self.state_dict()
        self.load_state_dict({key: found[key] for key in own})
        unexpected = sorted(found.keys() - own.keys() - UNUSED_KEYS)
        if unexpected:
            warnings.warn(f"not part of the visual tokenizer, left out: {listing(unexpected)}", stacklevel=2)
        return unexpected

    def own_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`state` under the tokenizer's own names. Raises InputError for missing keys and keys of another shape."""
        own = self.state_dict()
        expected = own.keys() | UNUSED_KEYS
        found = {f"encoder.{key}" if f"encoder.{key}" in expected else key: value for key, value in state.items()}
        if missing := sorted(own.keys() - found.keys()):
            raise InputError(f"the visual tokenizer's checkpoint lacks {listing(missing)}")
        wrong = [
            f"{key} {list(found[key].shape)} instead of {list(own[key].shape)}"
            for key in own
            if found[key].shape != own[key].shape
        ]
        if wrong:
            raise InputError(f"the visual tokenizer's checkpoint is of other sizes than its config: {listing(wrong)}")
        return found


def listing(names: list[str], most: int = 8) -> str:
    """The first names of a list that may run to hundreds."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
