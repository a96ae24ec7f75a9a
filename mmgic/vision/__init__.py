"""LaVIT's visual modules at any size: an image becomes a short, ragged sequence of visual codes (Section 3.1)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmgic.vision.folders import load_tokenizer, save_tokenizer
    from mmgic.vision.network.config import VisionConfig
    from mmgic.vision.network.tokenizer import VisualTokenizer

__all__ = ["VisionConfig", "VisualTokenizer", "load_tokenizer", "save_tokenizer"]

_MODULES = {
    "VisionConfig": "network.config",
    "VisualTokenizer": "network.tokenizer",
    "load_tokenizer": "folders",
    "save_tokenizer": "folders",
}


def __getattr__(name: str) -> Any:
    """Loads the models when they are asked for: whoever only reads images should not wait for torch."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
