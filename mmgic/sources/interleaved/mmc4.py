"""MMC4: web pages as sentences with images, in shards of JSON lines (docs_shard_*_v2.jsonl.zip and their like).

{"url", "text_list": [sentence, ...], "image_info": [{"image_name", "raw_url", "matched_text_index", "matched_sim"},
...], "similarity_matrix": images x sentences}. An image stands before the sentence that it was matched with; documents
place it anew (C.6). The match is copied into the order of a row's parts, so an image that is dropped later leaves no
matrix behind to be cut; the matrix is read only for images without `matched_text_index` or `matched_sim`.

Images that are less similar to their sentence than the source's `min_similarity` are left out, as MM-Interleaved does
with MMC4 (C.6); they need not be fetched.
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
    """An image of a document. `sentence` is the position of its sentence, -1 if it has none.

    `dissimilar` says that they are too little alike; an image whose similarity nobody computed is not.
    """

    url: str
    image_path: str
    sentence: int
    dissimilar: bool

    @property
    def column(self) -> RowImage:
        return row_image(self.image_path, self.url)

    @property
    def fault(self) -> str:
        """Why it cannot be used, "" if it can: one of schema.DROPS."""
        if not self.url and not self.image_path:
            return "image_failed"
        if self.sentence < 0:
            return "image_unmatched"
        return "image_dissimilar" if self.dissimilar else ""


@dataclass(frozen=True)
class _Document:
    """`problem` is "" if the record is a document, otherwise the detail of its `reason`."""

    record_id: str
    times_seen: int
    sentences: tuple[str, ...] = ()
    images: tuple[_Image, ...] = ()
    problem: str = ""
    reason: str = "bad_record"


def read_mmc4(source: SourceSettings) -> Iterator[Interleaved]:
    """Yields a row per document: one round whose response is its sentences and images in reading order.

    Images without a url or a matched sentence that is similar enough are dropped and counted. Some urls have several
    documents (`could_have_url_duplicate` is 1); the first one stays. See `mmgic.sources.read_source`.
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

    An image without a url or a matched sentence that is similar enough is a row that is set aside. See
    `mmgic.sources.read_source`.
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
    "image_dissimilar": ("image_dissimilar", "the image and its sentence are less similar than min_similarity"),
}


def _bad_document(source: str, task: str, document: _Document) -> Interleaved:
    verdict = reject(document.reason, document.problem)
    return interleaved(source, document.record_id, document.times_seen, task, **verdict)


def _documents(source: SourceSettings) -> Iterator[_Document]:
    with RecordIndex() as index:
        local = LocalImages(source, index)
        index.build()
        for where, record in source_records(source, json_lines):
            url = (record or {}).get("url")
            record_id = url_id(url) if isinstance(url, str) and url else where
            yield _document(record, record_id, index.times_seen(record_id), local, source.min_similarity)


def _document(
    record: dict[str, Any] | None, record_id: str, times_seen: int, local: LocalImages, min_similarity: float
) -> _Document:
    if record is None:
        return _Document(record_id, times_seen, problem="the line is no JSON object")
    texts, infos = record.get("text_list"), record.get("image_info")
    if not isinstance(texts, list) or not isinstance(infos, list):
        return _Document(record_id, times_seen, problem="the record has no text_list or no image_info")
    sentences = tuple(map(collapse_spaces, texts))
    matrix = record.get("similarity_matrix")
    similarities = matrix if isinstance(matrix, list) and len(matrix) == len(infos) else [None] * len(infos)
    images = tuple(
        _image(info, sentences, row, local, min_similarity) for info, row in zip(infos, similarities, strict=True)
    )
    faults = {image.fault for image in images}
    if "" in faults:
        return _Document(record_id, times_seen, sentences, images)
    if "image_dissimilar" in faults:
        problem = f"no image is as similar to its sentence as min_similarity, {min_similarity:g}, asks"
        return _Document(record_id, times_seen, problem=problem, reason="image_dissimilar")
    problem = f"none of its {len(images)} images has both a url and a sentence"
    return _Document(record_id, times_seen, problem=problem)


def _image(
    info: Any, sentences: tuple[str, ...], similarities: Any, local: LocalImages, min_similarity: float
) -> _Image:
    info = info if isinstance(info, dict) else {}
    url = http_url(info.get("raw_url"))
    path = local.find(info.get("image_name"), url=url)
    sentence = _sentence(info.get("matched_text_index"), sentences, similarities)
    similarity = info.get("matched_sim")
    if not is_number(similarity) and isinstance(similarities, list) and 0 <= sentence < len(similarities):
        similarity = similarities[sentence]
    return _Image(url, path, sentence, is_number(similarity) and similarity < min_similarity)


def _sentence(matched: Any, sentences: tuple[str, ...], similarities: Any) -> int:
    """The position of an image's sentence; the most similar one where the record does not say it. -1: none."""
    if matched is None and isinstance(similarities, list) and similarities and all(map(is_number, similarities)):
        matched = similarities.index(max(similarities))
    if isinstance(matched, int) and not isinstance(matched, bool) and 0 <= matched < len(sentences):
        return matched if sentences[matched] else -1
    return -1
