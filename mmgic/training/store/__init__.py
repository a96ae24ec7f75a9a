"""The token store: every kept document's tokens in memory-mapped Arrow files, read without copying."""

from mmgic.training.store.files import CorpusCounts, SourceCounts, StoreManifest, read_store_manifest
from mmgic.training.store.read import Sample, TokenStore
from mmgic.training.store.write import build_store

__all__ = [
    "CorpusCounts",
    "Sample",
    "SourceCounts",
    "StoreManifest",
    "TokenStore",
    "build_store",
    "read_store_manifest",
]
