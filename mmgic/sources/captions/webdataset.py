"""img2dataset's shards as a source of their own: images, captions and metadata all come from them.

The .txt is the caption of the web. Other captions come from columns that were kept beside it (`save_additional_columns`
of img2dataset) under the names of CapsFusion, LAION-COCO or our own tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmgic.errors import InputError
from mmgic.schema import KEPT, CaptionedImage, reject
from mmgic.settings import SourceSettings
from mmgic.sources.captions.pairs import captioned_image, http_url, url_id
from mmgic.sources.reading.files import collapse_spaces
from mmgic.sources.reading.index import RecordIndex
from mmgic.sources.reading.shards import ShardSample, find_shards, read_shard, shard_files, shard_records

_COLUMNS = {
    "caption_origin": ("caption_origin", "laion_2b"),
    "caption_coco": ("caption_coco", "laion_coco", "top_caption"),
    "caption_capsfusion": ("caption_capsfusion", "capsfusion"),
}


def read_webdataset(source: SourceSettings) -> Iterator[CaptionedImage]:
    """Yields a row per sample of each shard in the source's folder, and one per url that only its Parquet knows.

    A url that could not be fetched is set aside as `download_failed`. See `mmgic.sources.read_source`.
    """
    shards = find_shards(source.path)
    if not shards:
        raise InputError(
            f"source '{source.name}': {source.path} holds no *.tar and no *.parquet with images; set its 'path' to "
            "the shards' folder"
        )
    tables = set(shard_files(source.path, "*.parquet"))
    with RecordIndex() as index:
        for path in shards:
            stem = path.removesuffix(".tar").removesuffix(".parquet")
            shard = stem.rpartition("/")[2]
            there = set()
            for sample in read_shard(path):
                there.add(sample.key.rpartition("/")[2])
                yield _row(source.name, shard, sample, index)
            table = f"{stem}.parquet"
            for record in shard_records(table) if table in tables else ():
                if record["key"] not in there:
                    yield _absent_row(source.name, shard, record, index)


def _row(source: str, shard: str, sample: ShardSample, index: RecordIndex) -> CaptionedImage:
    url = http_url(sample.fields.get("url"))
    captions: dict[str, Any] = {kind: _caption(sample.fields, names) for kind, names in _COLUMNS.items()}
    captions["caption_origin"] = captions["caption_origin"] or collapse_spaces(sample.text)
    if not captions["caption_origin"] and not any(captions.values()):
        captions["caption_origin"] = _caption(sample.fields, ("caption", "text"))
    verdict = KEPT if any(captions.values()) else reject("no_caption", f"{sample.key} has no caption")
    if not sample.image_path:
        verdict = reject("image_missing", f"the shard {shard} holds no image with the key {sample.key}")
    image_id = url_id(url) if url else f"{shard}/{sample.key}"
    return captioned_image(
        source,
        image_id,
        index.times_seen(image_id),
        url=url,
        image_path=sample.image_path,
        **sample.size,
        **captions,
        **verdict,
    )


def _caption(fields: dict[str, Any], names: tuple[str, ...]) -> str:
    return next(filter(None, (collapse_spaces(fields.get(name)) for name in names)), "")


def _absent_row(source: str, shard: str, record: dict[str, Any], index: RecordIndex) -> CaptionedImage:
    url = http_url(record["url"])
    image_id = url_id(url) if url else f"{shard}/{record['key']}"
    if record["status"] == "success":
        verdict = reject("image_missing", f"{shard}.parquet lists {record['key']}, the shard {shard} does not")
    else:
        verdict = reject("download_failed", str(record["error_message"] or record["status"]))
    return captioned_image(source, image_id, index.times_seen(image_id), url=url, **verdict)
