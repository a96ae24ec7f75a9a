"""V3Det: COCO-style files whose categories carry descriptions, and whose names repeat.

`category_id` is a number, or in the pre-release files a list. 36 names stand for two or more of the 13,204 categories
("man": a person, a piece of a board game), so that labels are made by id: a repeated name gets a word of its own
category's description that the others do not have, "man (adult)" and "man (game)".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mmgic.schema import AnnotatedImage
from mmgic.settings import SourceSettings
from mmgic.sources.detection.coco import category_name, category_records, read_detections
from mmgic.sources.reading.files import annotation_paths, collapse_spaces, text_id

_WORD = re.compile(r"[^\W\d_]{3,}(?:-[^\W\d_]+)*")
# words that tell nothing when they stand alone
_FUNCTION_WORDS = (
    "any all and are also being been both can derived either especially for from has have having into its like made "
    "many most not one other part related resembling similar several some such than that the their them they this "
    "two type used using usually various very who whose which with without you"
)
_TELLING_NOTHING = frozenset(_FUNCTION_WORDS.split())


def read_v3det(source: SourceSettings) -> Iterator[AnnotatedImage]:
    """Yields a row per image record, as `read_coco` does, with labels that tell categories apart.

    The paper counts train and validation together, so both are read where `annotations` names no other files.
    """
    return read_detections(source, v3det_labels)


def v3det_labels(records: list[dict[str, Any]]) -> dict[str, str]:
    """Category id -> label. No two categories have one label; a name that no word tells apart gets its id."""
    by_name: dict[str, dict[str, set[str]]] = {}  # name -> category id -> words of its description
    texts = {}
    for record in records:
        category, name = text_id(record.get("id")), category_name(record)
        if category and name:
            texts[category] = _text(record.get("cat_info"))
            by_name.setdefault(name, {})[category] = set(_words(texts[category]))
    labels = {}
    for name, words in by_name.items():
        for category in words:
            others = [own for other, own in words.items() if other != category]
            telling = (w for w in _words(texts[category]) if w not in name.lower() and not any(w in o for o in others))
            mark = next(telling, category)
            labels[category] = name if len(words) == 1 else f"{name} ({mark})"
    return _unique(labels)


def v3det_descriptions(source: SourceSettings) -> Iterator[dict[str, str]]:
    """V3Det's own descriptions as rows {source, kind, label, description}, the labels those of `read_v3det`'s objects.

    `source.description_field` names the field of the category that is used: a text or a list of texts. Raises
    InputError like `read_v3det`.
    """
    seen = set()
    for path in annotation_paths(source):
        records = category_records(path)
        labels = v3det_labels(records)
        for record in records:
            label = labels.get(text_id(record.get("id")), "")
            description = _text(record.get(source.description_field))
            if label and description and label not in seen:
                seen.add(label)
                yield {"source": source.name, "kind": "object", "label": label, "description": description}


def _text(value: Any) -> str:
    return " ".join(filter(None, map(collapse_spaces, value if isinstance(value, list) else [value])))


def _words(text: str) -> list[str]:
    """The words of a description that may tell it from others, in their order."""
    return [word for word in _WORD.findall(text.lower()) if word not in _TELLING_NOTHING]


def _unique(labels: dict[str, str]) -> dict[str, str]:
    """`labels`, with the id added if a made label is another category's own name."""
    counts: dict[str, int] = {}
    for label in labels.values():
        counts[label] = counts.get(label, 0) + 1
    return {id_: label if counts[label] == 1 else f"{label} (category {id_})" for id_, label in labels.items()}
