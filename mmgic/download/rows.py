"""The download of a batch of rows: every image that has a url and no path yet."""

from __future__ import annotations

import asyncio
import hashlib
import io
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from PIL import Image

from mmgic.download.fetch import Fetcher
from mmgic.download.shard import Fetched, ShardEntry, write_shard
from mmgic.errors import InputError
from mmgic.images import DECODERS, MAX_PIXELS, ImageError, decode_image
from mmgic.schema import CaptionedImage, Interleaved, reject
from mmgic.settings import DownloadSettings
from mmgic.sources.rows import without_images
from mmgic.stages.lifecycle import is_too_often

# By Pillow's name; a JPEG of several pictures is called MPO once it is open.
_SUFFIXES = {"JPEG": "jpg", "MPO": "jpg", "TIFF": "tif", "JPEG2000": "jp2"}
_CAPTIONS = ("caption_origin", "caption_coco", "caption_capsfusion")

T = TypeVar("T", CaptionedImage, Interleaved)
Results = Mapping[str, Fetched | ImageError]  # by url


@dataclass(frozen=True)
class DownloadImages:
    """A transform of CAPTIONED_IMAGE or INTERLEAVED rows: their images come from the net into one tar shard a batch.

    Rows leave with `image_path` (and `width` and `height` if they have them). A row whose image cannot be had is set
    aside as host_unreachable, download_failed, download_refused, image_too_large or image_undecodable; an interleaved
    document goes on without that image, which is counted. Images that have a path already are left as they are.

    An image's path names a slice of its batch's shard, and the shard is named by the batch's row ids. A batch that is
    done again with the same rows writes the same files, if the net answers the same; but after a kill Ray Data cuts the
    rows that are left into other batches, so their `image_path` differs from that of a run that was not killed. Which
    image a row has, and all its other columns, do not. Shards that no row names are `remove_orphans`'s.

    Raises InputError, before anything of the batch is written, where more than `max_failure_rate` of its urls (and at
    least FEW) could not even be asked for: the network is down, and the batch is fetched when it is back. Fewer than
    FEW cannot be told from dead hosts.
    """

    settings: DownloadSettings
    folder: str  # of the shards; any fsspec path

    def __call__(self, rows: list[T]) -> list[T]:
        wanted = [(row, i, url) for row in rows if row["keep"] for i, url in _missing(row)]
        if not wanted:
            return rows
        with tempfile.TemporaryDirectory(prefix="mmgic-download-") as scratch:
            urls = list(dict.fromkeys(url for _, _, url in wanted))
            results = asyncio.run(_fetch_all(urls, self.settings, Path(scratch)))
            _check_network(results, self.settings.max_failure_rate)
            entries = {url: _entry(row, i, url, results[url]) for row, i, url in reversed(wanted)}
            paths = write_shard(f"{self.folder}/{_batch_name(rows)}", [entries[url] for url in urls])
        return [cast(T, _with_images(row, results, paths)) if row["keep"] else row for row in rows]


def _check_network(results: Results, max_failure_rate: float) -> None:
    lost = [r.detail for r in results.values() if isinstance(r, ImageError) and r.reason == "host_unreachable"]
    if is_too_often(len(lost), len(results), max_failure_rate):
        raise InputError(
            f"{len(lost):,} of the {len(results):,} images asked for last could not be reached (such as: {lost[-1]}), "
            f"more than download.max_failure_rate = {max_failure_rate:g}; when the network is back run the same "
            "command again, which asks for these images again and keeps those that it has"
        )


def _missing(row: Mapping[str, Any]) -> list[tuple[int, str]]:
    """(position in the row, url) of the images that are to be fetched."""
    images = row.get("images", [row])
    return [(i, image["url"]) for i, image in enumerate(images) if image["url"] and not image["image_path"]]


def _batch_name(rows: Sequence[Mapping[str, Any]]) -> str:
    ids = "\n".join(str(row["row_id"]) for row in rows)
    return hashlib.blake2b(ids.encode(), digest_size=8).hexdigest()


def _entry(row: Mapping[str, Any], i: int, url: str, result: Fetched | ImageError) -> ShardEntry:
    captions = {name: row[name] for name in _CAPTIONS if row.get(name)}
    key = f"{row['row_id'] % (1 << 64):016x}{f'_{i}' if 'images' in row else ''}"
    return ShardEntry(key, url, next(iter(captions.values()), ""), captions, result)


async def _fetch_all(urls: Iterable[str], settings: DownloadSettings, scratch: Path) -> Results:
    """Fetches and checks all urls; images that are in order lie in `scratch`."""
    loop = asyncio.get_running_loop()
    # name look-ups are blocking calls in the loop's own threads, of which there are few by default
    loop.set_default_executor(ThreadPoolExecutor(min(64, settings.concurrency)))
    async with Fetcher(settings) as fetcher:

        async def one(number: int, url: str) -> tuple[str, Fetched | ImageError]:
            try:
                return url, await fetcher.fetch(url, partial(store_image, scratch / str(number)))
            except ImageError as error:
                return url, error

        return dict(await asyncio.gather(*(one(number, url) for number, url in enumerate(urls))))


def store_image(file: Path, body: bytes, max_pixels: int = MAX_PIXELS) -> Fetched:
    """Writes `body` to `file` if it is an image that decodes whole. Raises ImageError like `decode_image`."""
    decode_image(io.BytesIO(body), "the body", max_pixels)
    with Image.open(io.BytesIO(body), formats=DECODERS) as image:
        name = str(image.format)
        fetched = Fetched(file, _SUFFIXES.get(name, name.lower()), image.width, image.height)
    file.write_bytes(body)
    return fetched


def _with_images(row: Mapping[str, Any], results: Results, paths: Mapping[str, str]) -> Mapping[str, Any]:
    failed = {i: error for i, url in _missing(row) if isinstance(error := results[url], ImageError)}
    if "images" not in row:
        if failed:
            return {**row, **reject(failed[0].reason, failed[0].detail)}
        if not _missing(row):
            return row
        fetched = results[row["url"]]
        assert isinstance(fetched, Fetched)
        return {**row, "image_path": paths[row["url"]], "width": fetched.width, "height": fetched.height}
    arrived = {i: paths[url] for i, url in _missing(row) if i not in failed}
    images = [{**image, "image_path": arrived.get(i, image["image_path"])} for i, image in enumerate(row["images"])]
    row = {**row, "images": images}
    return without_images(
        cast(Interleaved, row), {i: (e.reason, f"{images[i]['url']}: {e.detail}") for i, e in failed.items()}
    )
