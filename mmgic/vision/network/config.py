"""Sizes of the visual tokenizer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mmgic.errors import InputError


@dataclass(frozen=True)
class VisionConfig:
    """Sizes of encoder, selector, merger and quantizer; the defaults are LaVIT's (EVA-CLIP ViT-g/14, 16384 codes)."""

    image_size: int = 224  # edge of the square frame, pixels
    patch_size: int = 14
    width: int = 1408  # of the encoder and of the merger
    depth: int = 40  # encoder blocks
    num_heads: int = 16
    mlp_hidden: int = 6144  # of the encoder and of the merger
    merger_depth: int = 12
    merger_heads: int = 16
    codebook_size: int = 16384
    codebook_dim: int = 32

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not isinstance(value, int) or value < 1:
                raise InputError(f"vision config: {name} is {value!r}; it takes a positive whole number")
        for whole, part in (
            ("image_size", "patch_size"),
            ("width", "num_heads"),
            ("width", "merger_heads"),
        ):
            if getattr(self, whole) % getattr(self, part):
                raise InputError(
                    f"vision config: {whole} {getattr(self, whole)} is no multiple of {part} {getattr(self, part)}"
                )
        if self.width % 2:
            raise InputError(f"vision config: width {self.width} is odd; the selector halves it")

    @property
    def grid(self) -> int:
        """Patches along one edge of the frame."""
        return self.image_size // self.patch_size

    @property
    def patches(self) -> int:
        """Patches of one frame."""
        return self.grid**2


def check_shape(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise InputError(f"{name} are {list(tensor.shape)}; this visual tokenizer takes {list(shape)}")
