"""LaVIT's visual modules at any size: an image becomes a short, ragged sequence of visual codes (Section 3.1)."""

from mmgic.vision.checkpoint import load_tokenizer, save_tokenizer
from mmgic.vision.config import VisionConfig
from mmgic.vision.preprocess import preprocess
from mmgic.vision.tokenizer import VisualTokenizer

__all__ = ["VisionConfig", "VisualTokenizer", "load_tokenizer", "preprocess", "save_tokenizer"]
