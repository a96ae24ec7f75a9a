"""Datasets on disk as rows of annotated images, one module per format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmgic.settings import SourceSettings
from mmgic.sources.coco import read_coco
from mmgic.sources.visual_genome import read_visual_genome
from mmgic.sources.vqav2 import read_vqav2

_READERS = {"coco": read_coco, "visual_genome": read_visual_genome, "vqav2": read_vqav2}


def read_source(source: SourceSettings) -> Iterator[dict[str, Any]]:
    """Yields the rows (columns of `mmgic.schema.ANNOTATED_IMAGE`) of one dataset, in the order of its image list.

    Every record of the image list gives one row, and so does every image that only the annotations know: a record that
    cannot be used is a row with `keep = False`. Memory does not grow with the dataset: the annotations are grouped by
    image in a temporary file (see `mmgic.sources.index`). Image files are not opened. Raises InputError where a file or
    folder is missing, damaged or of another format.
    """
    yield from _READERS[source.format](source)
