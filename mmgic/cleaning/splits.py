"""Which Visual Genome images belong to benchmarks: Karpathy's COCO split and Flickr30k (F.2 step 7)."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass

from mmgic.errors import InputError
from mmgic.files import find_files
from mmgic.schema import KEPT, Verdict, reject
from mmgic.settings import SourceSettings
from mmgic.sources.reading.files import text_id
from mmgic.sources.reading.json_files import stream_json
from mmgic.sources.reading.opening import text_lines

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
    if unknown := sorted(set(splits.values()) - {"train", *_HELD_OUT, *_VALIDATION}):
        raise InputError(f"{path} has images of the split '{unknown[0]}'; it should be train, restval, val or test")
    return splits


def _flickr30k(folder: str) -> frozenset[str]:
    ids = frozenset(photo for path in find_files(posixpath.join(folder, "*.txt")) for photo in _photo_ids(path))
    if not ids:
        raise InputError(
            f"{folder} holds no lists of Flickr photo ids; set 'flickr30k' to the folder of its id lists (*.txt)"
        )
    return ids


def _photo_ids(path: str) -> list[str]:
    """The ids of a list, a photo a line; none of a text that is no list. Raises InputError for a list's odd line."""
    lines = {number: posixpath.basename((line or "").strip()) for number, line in text_lines(path)}
    ids = {number: re.sub(r"\.jpe?g$", "", line, flags=re.IGNORECASE) for number, line in lines.items()}
    odd = [number for number, photo in ids.items() if not photo.isdecimal()]
    if odd and len(odd) < len(ids):
        raise InputError(f"line {odd[0]} of {path} is no Flickr photo id, as others are; correct or remove it")
    return [] if odd else list(ids.values())
