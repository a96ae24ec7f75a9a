"""The token store: every kept document's tokens in memory-mapped Arrow files, read without copying."""

from mmgic.training.store.files import CorpusCounts, SourceCounts, StoreManifest, read_store_manifest, store_folder
from mmgic.training.store.read import TokenStore, TrainingSample
from mmgic.training.store.write import build_store

__all__ = [
    "CorpusCounts",
    "SourceCounts",
    "StoreManifest",
    "TokenStore",
    "TrainingSample",
    "build_store",
    "read_store_manifest",
    "store_folder",
]
