"""MMC4: web pages as sentences with images, in shards of JSON lines (docs_shard_*_v2.jsonl.zip and their like).

{"url", "text_list": [sentence, ...], "image_info": [{"image_name", "raw_url", "matched_text_index"}, ...],
"similarity_matrix": images x sentences}. An image stands before the sentence that it was matched with. The match is
copied into the order of a row's parts, so an image that is dropped later leaves no matrix behind to be cut; the matrix
is read only for images without `matched_text_index`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mmgic.schema import KEPT, Interleaved, Part, RowImage, reject
from mmgic.settings import SourceSettings
from mmgic.sources.captions.pairs import http_url, url_id
from mmgic.sources.reading.files import collapse_spaces, is_number
from mmgic.sources.reading.index import RecordIndex
from mmgic.sources.reading.json_files import json_lines
from mmgic.sources.reading.records import source_records
from mmgic.sources.reading.shards import LocalImages
from mmgic.sources.rows import image_part, interleaved, row_image, text_part


@dataclass(frozen=True)
class _Image:
    """An image of a document. `sentence` is the position of its sentence, -1 if it has none."""

    url: str
    image_path: str
    sentence: int

    @property
    def column(self) -> RowImage:
        return row_image(self.image_path, self.url)

    @property
    def fault(self) -> str:
        """Why it cannot be used, "" if it can: one of schema.DROPS."""
        if not self.url and not self.image_path:
            return "image_failed"
        return "" if self.sentence >= 0 else "image_unmatched"


@dataclass(frozen=True)
class _Document:
    """`problem` is "" where the record is a document."""

    record_id: str
    times_seen: int
    sentences: tuple[str, ...] = ()
    images: tuple[_Image, ...] = ()
    problem: str = ""


def read_mmc4(source: SourceSettings) -> Iterator[Interleaved]:
    """Yields a row per document: one round whose response is its sentences and images in reading order.

    Images without a url or a matched sentence are dropped and counted. Some urls have several documents (where
    `could_have_url_duplicate` is 1); the first one stays. See `mmgic.sources.read_source`.
    """
    for document in _documents(source):
        if document.problem:
            yield _bad_document(source.name, "interleaved", document)
            continue
        images = [image for image in document.images if not image.fault]
        parts: list[Part] = []
        for i, sentence in enumerate(document.sentences):
            parts += [image_part(k) for k, image in enumerate(images) if image.sentence == i]
            parts += [text_part(sentence)] if sentence else []
        drops = [image.fault for image in document.images if image.fault]
        drops += ["sentence_empty"] * document.sentences.count("")
        row = interleaved(
            source.name, document.record_id, document.times_seen, "interleaved", rounds=[([], parts)], drops=drops
        )
        yield {**row, "images": [image.column for image in images]}


def read_mmc4_pairs(source: SourceSettings) -> Iterator[Interleaved]:
    """Yields a row per image of each document: the image and its sentence (MMC4-pairs of C.6).

    An image without a url or a matched sentence is a row that is set aside. See `mmgic.sources.read_source`.
    """
    for document in _documents(source):
        if document.problem:
            yield _bad_document(source.name, "pair", document)
            continue
        for k, image in enumerate(document.images):
            verdict = reject(*_PAIR_FAULTS[image.fault]) if image.fault else KEPT
            parts = [] if image.fault else [image_part(0), text_part(document.sentences[image.sentence])]
            row = interleaved(
                source.name,
                f"{document.record_id}/{k}",
                document.times_seen,
                "pair",
                rounds=[([], parts)],
                **verdict,
            )
            yield {**row, "images": [image.column]}


_PAIR_FAULTS = {
    "image_failed": ("bad_record", "the image has no url"),
    "image_unmatched": ("no_caption", "the image has no matched sentence"),
}


def _bad_document(source: str, task: str, document: _Document) -> Interleaved:
    verdict = reject("bad_record", document.problem)
    return interleaved(source, document.record_id, document.times_seen, task, **verdict)


def _documents(source: SourceSettings) -> Iterator[_Document]:
    with RecordIndex() as index:
        local = LocalImages(source, index)
        index.build()
        for where, record in source_records(source, json_lines):
            url = (record or {}).get("url")
            record_id = url_id(url) if isinstance(url, str) and url else where
            yield _document(record, record_id, index.times_seen(record_id), local)


def _document(record: dict[str, Any] | None, record_id: str, times_seen: int, local: LocalImages) -> _Document:
    if record is None:
        return _Document(record_id, times_seen, problem="the line is no JSON object")
    texts, infos = record.get("text_list"), record.get("image_info")
    if not isinstance(texts, list) or not isinstance(infos, list):
        return _Document(record_id, times_seen, problem="the record has no text_list or no image_info")
    sentences = tuple(map(collapse_spaces, texts))
    matrix = record.get("similarity_matrix")
    similarities = matrix if isinstance(matrix, list) and len(matrix) == len(infos) else [None] * len(infos)
    images = tuple(_image(info, sentences, row, local) for info, row in zip(infos, similarities, strict=True))
    if not any(image.fault == "" for image in images):
        problem = f"none of its {len(images)} images has both a url and a sentence"
        return _Document(record_id, times_seen, problem=problem)
    return _Document(record_id, times_seen, sentences, images)


def _image(info: Any, sentences: tuple[str, ...], similarities: Any, local: LocalImages) -> _Image:
    info = info if isinstance(info, dict) else {}
    url = http_url(info.get("raw_url"))
    path = local.find(info.get("image_name"), url=url)
    return _Image(url, path, _sentence(info.get("matched_text_index"), sentences, similarities))


def _sentence(matched: Any, sentences: tuple[str, ...], similarities: Any) -> int:
    """The position of an image's sentence; the most similar one where the record does not say it. -1: none."""
    if matched is None and isinstance(similarities, list) and similarities and all(map(is_number, similarities)):
        matched = similarities.index(max(similarities))
    if isinstance(matched, int) and not isinstance(matched, bool) and 0 <= matched < len(sentences):
        return matched if sentences[matched] else -1
    return -1
