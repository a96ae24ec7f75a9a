"""Each source's files, its first records, and a sample of the images that these name."""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, redirect_stdout
from functools import partial
from itertools import islice
from multiprocessing.connection import Connection
from typing import Any

from mmgic.checks.problems import Findings
from mmgic.files import filesystem_of, find_files
from mmgic.images import ImageError, read_image
from mmgic.paths import is_local
from mmgic.settings import SourceSettings, merge
from mmgic.sources.formats import FORMATS, read_source
from mmgic.sources.reading.files import annotation_files, image_folders
from mmgic.sources.reading.shards import IMAGE_SUFFIXES
from mmgic.stages.lifecycle import ERRORS

RECORDS = 50  # of each source, read as the first stage reads them
IMAGES = 8  # of these records' images, decoded
LOST = 1  # of these: real datasets lack a few, and each is a record that is set aside
# Formats that list their records in any order are sorted before the first one is there: hours for the largest.
SECONDS = 20.0
AT_HAND_BYTES = 32 << 20  # annotations that are read in no time, without a process of their own
MOST_FILES = 2000  # of a folder that are looked through for IMAGES images
WEB_IMAGE_BYTES = 150_000  # of an image of the web as its site sends it, about


def check_sources(sources: Sequence[SourceSettings], findings: Findings, images: bool = True) -> None:
    """Adds what is wrong with the files, the first records and the images of `sources`.

    Large sources are read side by side, each in a process that ends after SECONDS. `images = False` leaves the images
    out, once a finished table holds what was made of them.
    """
    sizes = {source.name: annotation_bytes(source) for source in sources}
    large = [source for source in sources if sizes[source.name] > AT_HAND_BYTES]
    with ExitStack() as stack:
        # what a reader that is ended has sorted so far goes with its folder
        folders = {s.name: stack.enter_context(tempfile.TemporaryDirectory(prefix="mmgic-check-")) for s in large}
        started = [(source, *_start(source, images, folders[source.name])) for source in large]
        for source in sources:
            if sizes[source.name] <= AT_HAND_BYTES:
                findings.add(_look(source, images))
        deadline = time.monotonic() + SECONDS
        for source, process, results in started:
            if results.poll(max(0.0, deadline - time.monotonic())):
                findings.add(results.recv())
            else:
                name = f"source '{source.name}'"
                findings.note(
                    f"{name}: its files are there, but its first records take more than {SECONDS:.0f} s to reach; of "
                    "its images those at hand are opened, and not held against its records"
                )
                if images:
                    findings.attempt(partial(_look_at_folders, name, source, findings))
            process.kill()
            process.join()


def _start(source: SourceSettings, images: bool, temporary: str) -> tuple[Any, Connection]:
    context = multiprocessing.get_context("spawn")
    results, sender = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(source, images, temporary, sender), daemon=True)
    process.start()
    return process, results


def _report(source: SourceSettings, images: bool, temporary: str, sender: Connection) -> None:
    tempfile.tempdir = temporary
    sender.send(_look(source, images))


def annotation_bytes(source: SourceSettings) -> int:
    """Bytes of the annotation files of `source` that are there."""
    total = 0
    for pattern in annotation_files(source):
        try:
            filesystem, _ = filesystem_of(pattern)
            total += sum(filesystem.size(path) or 0 for path in find_files(pattern))
        except (OSError, ValueError, ImportError):
            continue  # the reader says what is wrong with it
    return total


def _look(source: SourceSettings, images: bool) -> Findings:
    """Reads the first records of one source as the first stage does."""
    findings = Findings()
    for setting in ("karpathy", "flickr30k"):  # each is told, and keeps nothing else from being told
        path = getattr(source, setting)
        if path and not _is_there(path):
            findings.problem(f"source '{source.name}': its '{setting}' is {path}, which is not there; correct the path")
            source = merge(source, {setting: ""})
    with open(os.devnull, "w") as silence, redirect_stdout(silence):
        rows = findings.attempt(lambda: list(islice(read_source(source), RECORDS)))
    if rows is None:
        return findings
    name = f"source '{source.name}'"
    if not rows:
        findings.problem(f"{name}: its files hold no record; check its 'path' and 'annotations'")
        return findings
    faults = Counter(row["reason"] for row in rows if row["reason"] in ERRORS)
    if faults.total() == len(rows):
        reason, _ = faults.most_common(1)[0]
        example = next(row for row in rows if row["reason"] == reason)
        findings.problem(
            f"{name}: each of its first {len(rows)} records is set aside, such as {example['image_id']} ({reason}: "
            f"{example['detail']}); check that its files are of the format '{source.format}'"
        )
        return findings
    if images:
        check_images(name, list(_image_paths(rows)), findings, LOST)
        _count_room(name, source, rows, findings)
    return findings


def _count_room(name: str, source: SourceSettings, rows: Sequence[Mapping[str, Any]], findings: Findings) -> None:
    """Adds the room of the images that are fetched by url, by the share of them in the first `rows` and by how many
    such rows the source's files hold."""
    kept = [image for row in rows if row["keep"] for image in row.get("images", [row])]
    fetched = sum(bool(image.get("url")) and not image["image_path"] for image in kept)
    if not fetched:
        return
    shown = sum(len(json.dumps([v for v in row.values() if isinstance(v, str | list)])) for row in rows)
    images = round(fetched * max(1.0, annotation_bytes(source) / shown))
    findings.fetched_bytes += images * WEB_IMAGE_BYTES
    findings.note(
        f"{name}: about {images:,} images are fetched by url, which take {images * WEB_IMAGE_BYTES / 1e9:,.1f} GB at "
        f"{WEB_IMAGE_BYTES // 1000} kB each"
    )


def _look_at_folders(name: str, source: SourceSettings, findings: Findings) -> None:
    """Opens some of the images that lie in the source's folders, whatever its records name."""
    folders = image_folders(source) or [source.path]
    if missing := [folder for folder in folders if not _is_there(folder)]:
        if not FORMATS[source.format].by_url:
            findings.problem(f"{name}: its 'images' name {missing[0]}, which is not there; correct the path")
        return
    found: list[str] = []
    for folder in folders:
        for number, path in enumerate(_files_below(folder)):
            if len(found) == IMAGES or number == MOST_FILES:
                break
            if path.rpartition(".")[2].lower() in IMAGE_SUFFIXES:
                found.append(path)
    check_images(name, found, findings, LOST)


def _files_below(folder: str) -> Iterator[str]:
    filesystem, inner = filesystem_of(folder)
    for parent, _, names in filesystem.walk(inner):
        for name in sorted(names):
            path = f"{parent}/{name}"
            yield path if is_local(folder) else filesystem.unstrip_protocol(path)


def _is_there(path: str) -> bool:
    filesystem, inner = filesystem_of(path)
    return bool(filesystem.exists(inner))


def _image_paths(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The paths of the kept rows' images; those that have yet to be fetched have none."""
    for row in rows:
        if row["keep"]:
            for image in row.get("images", [row]):
                if image["image_path"]:
                    yield image["image_path"]


def check_images(name: str, paths: Sequence[str], findings: Findings, lost: int = 0) -> None:
    """Opens IMAGES of `paths`, spread over all of them, and adds a problem if more than `lost` cannot be."""
    sample = paths[:: max(1, len(paths) // IMAGES)][:IMAGES]
    failures = []
    for path in sample:
        try:
            read_image(path)
        except ImageError as error:
            failures.append(error)
    if failures:
        found = (
            f"{name}: {len(failures)} of {len(sample)} sampled images cannot be opened, such as {failures[0].detail} "
            f"({failures[0].reason})"
        )
        if len(failures) > lost or len(failures) == len(sample):
            findings.problem(f"{found}; set its 'images' to the folder that holds them, or unpack the images there")
        else:
            findings.note(f"{found}; such records are set aside")
    elif sample:
        findings.note(f"{name}: {len(sample)} sampled images open")
