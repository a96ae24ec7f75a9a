"""Which Visual Genome images belong to benchmarks: Karpathy's COCO split and Flickr30k (F.2 step 7)."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass

from mmgic.errors import InputError
from mmgic.files import filesystem_of, find_files
from mmgic.schema import KEPT, Verdict, reject
from mmgic.settings import SourceSettings
from mmgic.sources.reading.files import stream_json, text_id

# F.2: restval, which captioning work trains on, is validation here
_HELD_OUT = {"test": "heldout_split"}
_VALIDATION = {"val": "validation_split", "restval": "validation_split"}


@dataclass(frozen=True)
class Splits:
    """Images outside the training set: COCO id -> Karpathy's split, and the photo ids of Flickr30k."""

    karpathy: Mapping[str, str]
    flickr30k: frozenset[str]
    keep_validation: bool = False  # images of Karpathy's val and restval are trained on

    def verdict(self, coco_id: str, flickr_id: str) -> Verdict:
        """The verdict columns of an image with these ids, each "" if it has none."""
        split = self.karpathy.get(coco_id, "train")
        reasons = _HELD_OUT if self.keep_validation else _HELD_OUT | _VALIDATION
        if split in reasons:
            return reject(reasons[split], f"COCO image {coco_id} is in Karpathy's {split} split")
        if not coco_id and flickr_id in self.flickr30k:
            return reject("heldout_split", f"Flickr photo {flickr_id} is in Flickr30k")
        return KEPT


def read_splits(source: SourceSettings) -> Splits:
    """Reads the split files that the source names. Raises InputError if one is missing or of another format."""
    karpathy = _karpathy(source.karpathy) if source.karpathy else {}
    flickr30k = _flickr30k(source.flickr30k) if source.flickr30k else frozenset()
    return Splits(karpathy, flickr30k, source.keep_validation)


def _karpathy(path: str) -> dict[str, str]:
    images = (image for image in stream_json(path, "images.item") if isinstance(image, dict))
    splits = {text_id(image.get("cocoid")): str(image.get("split")) for image in images}
    splits.pop("", None)
    if not splits:
        raise InputError(
            f"{path} lists no images with a 'cocoid'; set 'karpathy' to dataset_coco.json of Karpathy's split"
        )
    return splits


def _flickr30k(folder: str) -> frozenset[str]:
    filesystem, _ = filesystem_of(folder)
    lists = find_files(posixpath.join(folder, "*.txt"))
    lines = (line.strip() for path in lists for line in filesystem.read_text(path, encoding="utf-8").splitlines())
    ids = frozenset(line.removesuffix(".jpg") for line in lines if line.removesuffix(".jpg").isdecimal())
    if not ids:
        raise InputError(
            f"{folder} holds no lists of Flickr photo ids; set 'flickr30k' to the folder of its id lists (*.txt)"
        )
    return ids
