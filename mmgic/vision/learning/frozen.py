"""The frozen image encoder that a visual tokenizer is trained around."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from mmgic.errors import InputError
from mmgic.vision.folders import load_config, read_encoder
from mmgic.vision.network.encoder import NORM_EPS
from mmgic.vision.network.tokenizer import VisualTokenizer, listing

_ENDS = ("norm.", "head.")  # EVA-CLIP's classifier end


@dataclass(frozen=True)
class FrozenEncoder:
    model: VisualTokenizer  # its encoder is the trained one; all else is new
    head: nn.Module | None  # EVA-CLIP's norm and head, [..., width] -> [..., out]; None where the folder has none


def load_frozen(folder: str | Path) -> FrozenEncoder:
    """Reads the encoder of a tokenizer's folder, or of one that holds an encoder alone (`mmgic.vision.folders`).

    Raises InputError if it is not all there.
    """
    model = VisualTokenizer(load_config(folder))
    weights = read_encoder(folder)
    own = model.encoder.state_dict()
    wrong = sorted(key for key in own if key not in weights or weights[key].shape != own[key].shape)
    if wrong:
        raise InputError(
            f"{folder} holds no image encoder of its config's sizes; missing or of other shape: {listing(wrong)}"
        )
    model.encoder.load_state_dict({key: weights[key] for key in own})
    model.encoder.requires_grad_(False)
    # a tokenizer's merger has a `norm` too, but under its own prefix
    ends = {key: value.float() for key, value in weights.items() if key.startswith(_ENDS)}
    if len(ends) < 4:
        return FrozenEncoder(model, None)
    out, width = ends["head.weight"].shape
    head = nn.Sequential(OrderedDict(norm=nn.LayerNorm(width, eps=NORM_EPS), head=nn.Linear(width, out)))
    head.load_state_dict(ends)
    return FrozenEncoder(model, head.requires_grad_(False))
