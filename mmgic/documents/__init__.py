"""Interleaved image-text documents: templates, filling and fitting (F.6, F.7), instruction rounds (H)."""

from mmgic.descriptions.reading import Descriptions, load_descriptions
from mmgic.documents.multi_grained import build_document
from mmgic.documents.rounds import build_rounds_document

__all__ = ["Descriptions", "build_document", "build_rounds_document", "load_descriptions"]
