"""Dataset pre-processing (Appendix F.2): which images, objects, attributes and relationships stay, under which labels.

Labels are judged by their frequency in the whole dataset, and what counts depends on what was removed before, so
cleaning passes over a dataset's rows three times. With the rows of ONE source in any number of batches:

    counts += count_objects(batch, source, cleaning)                       # LabelCounts() before the first batch
    labels = kept_labels(counts, source, cleaning)                         # small; send it to every worker
    counts += count_predicates(batch, labels, source, cleaning)
    labels = kept_labels(counts, source, cleaning)
    row = clean_image(row, labels, source, cleaning)                       # for every kept row

The counting passes take all rows of the source, also those set aside: they know which ones count. The order of the
rules is the paper's: detection sets count labels before anything is removed; Visual Genome first removes images, then
objects of several synsets and bad boxes, then rare (label, synset) pairs, then counts the attributes and relationships
of what is left, and splits off the benchmarks' images last.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from mmgic.schema import add_drops, reject
from mmgic.settings import CleaningSettings, SourceSettings

Row = dict[str, Any]

# set aside after the counts of F.2, in its last step
SPLIT_REASONS = ("heldout_split", "validation_split")
_PARTS_OF_SPEECH = {"v": "verb", "a": "adjective", "s": "adjective", "r": "adverb"}


@dataclass(frozen=True)
class LabelCounts:
    """How often each label occurs; those of a further batch are added in place, with +=."""

    objects: Counter[tuple[str, str]] = field(default_factory=Counter)  # (label, synset or "") -> count
    attributes: Counter[str] = field(default_factory=Counter)
    relationships: Counter[str] = field(default_factory=Counter)

    def __iadd__(self, other: LabelCounts) -> Self:
        self.objects.update(other.objects)
        self.attributes.update(other.attributes)
        self.relationships.update(other.relationships)
        return self


@dataclass(frozen=True)
class KeptLabels:
    """The labels that stay. An object's label and synset as annotated lead to its final name and synset."""

    objects: Mapping[tuple[str, str], tuple[str, str]]
    attributes: frozenset[str]
    relationships: frozenset[str]


def count_objects(rows: Iterable[Row], source: SourceSettings, cleaning: CleaningSettings) -> LabelCounts:
    """Counts the (label, synset) pairs of the rows of `source`: the first pass."""
    counts: Counter[tuple[str, str]] = Counter()
    for row in filter(_counts, rows):
        objects = row["objects"]
        if source.format == "visual_genome":
            objects = [] if image_fault(row, cleaning) else [o for o in objects if not _object_fault(o, row, cleaning)]
        counts.update((o["label"], o["synset"]) for o in objects)
    return LabelCounts(objects=counts)


def count_predicates(
    rows: Iterable[Row], labels: KeptLabels, source: SourceSettings, cleaning: CleaningSettings
) -> LabelCounts:
    """Counts the attributes and relationships of the objects that stay: the second pass, with `labels` of the first."""
    attributes: Counter[str] = Counter()
    relationships: Counter[str] = Counter()
    for row in filter(_counts, rows):
        if image_fault(row, cleaning):
            continue
        kept = {o["object_id"] for o in _clean_objects(row, labels, cleaning)[0]}
        attributes.update(a["label"] for a in row["attributes"] if a["object_id"] in kept)
        relationships.update(
            r["label"] for r in row["relationships"] if r["subject_id"] in kept and r["object_id"] in kept
        )
    return LabelCounts(attributes=attributes, relationships=relationships)


def kept_labels(
    counts: LabelCounts,
    source: SourceSettings,
    cleaning: CleaningSettings,
    names: Mapping[tuple[str, str], str] | None = None,
) -> KeptLabels:
    """Decides from the counts which labels stay and what they are called.

    An object without a synset is taken for its label's most frequent synset (of equals the first by name). Pairs seen
    fewer than `source.min_label_count` times go. A label left with several synsets is told apart by `names`, which maps
    (label, synset) to a name, or by `sense_name` where that has none. Only Visual Genome's attributes and relationships
    have a least frequency.
    """
    synsets: dict[str, dict[str, int]] = {}
    for (label, synset), count in counts.objects.items():
        synsets.setdefault(label, {})[synset] = count
    objects: dict[tuple[str, str], tuple[str, str]] = {}
    for label, annotated in synsets.items():
        totals = dict(sorted(annotated.items()))
        unmapped = totals.pop("", 0)
        usual = max(totals, key=totals.__getitem__, default="")
        if unmapped:
            totals[usual] = totals.get(usual, 0) + unmapped
        kept = [synset for synset, count in totals.items() if count >= source.min_label_count]
        for synset in kept:
            given = (names or {}).get((label, synset))
            objects[label, synset] = (given or (sense_name(label, synset) if len(kept) > 1 else label), synset)
        if unmapped and usual in kept:
            objects[label, ""] = objects[label, usual]
    thresholds = source.format == "visual_genome"
    return KeptLabels(
        objects,
        _frequent(counts.attributes, cleaning.min_attribute_count if thresholds else 1),
        _frequent(counts.relationships, cleaning.min_relationship_count if thresholds else 1),
    )


def _frequent(counts: Mapping[str, int], least: int) -> frozenset[str]:
    return frozenset(label for label, count in counts.items() if label and count >= least)


def sense_name(label: str, synset: str) -> str:
    """A name that tells one label's synsets apart by what the synset's name says, without a dictionary.

    ("batter", "ballplayer.n.01") -> "batter (ballplayer)", ("batter", "batter.n.02") -> "batter (sense 2)"; the label's
    own first noun sense stays "batter".
    """
    lemma, part, sense = [*synset.replace("_", " ").rsplit(".", 2), "", ""][:3]
    marks = [
        lemma if lemma != label else "",
        _PARTS_OF_SPEECH.get(part, ""),
        f"sense {int(sense)}" if sense.isdecimal() and int(sense) > 1 else "",
    ]
    keywords = ", ".join(filter(None, marks))
    return f"{label} ({keywords})" if keywords else label


def clean_image(row: Row, labels: KeptLabels, source: SourceSettings, cleaning: CleaningSettings) -> Row:
    """Returns the row with its faulty annotations removed and counted in `drops`, or set aside with a reason.

    Boxes that leave the image by no more than `cleaning.box_tolerance` pixels are cut to it.
    """
    if not row["keep"]:
        return row
    fault = image_fault(row, cleaning)
    if fault:
        return {**row, **reject(fault, f"{row['width']} x {row['height']} pixels")}
    frequent = {"attribute": labels.attributes, "relationship": labels.relationships}

    def fault_of(kind: str, label: str) -> str:
        return "" if label in frequent[kind] else f"{kind}_rare" if label else f"{kind}_empty"

    cleaned = _with_objects(row, *_clean_objects(row, labels, cleaning), fault_of)
    if not cleaned["objects"]:
        return {**cleaned, **reject("no_objects", f"none of {len(row['objects'])} annotated objects is usable")}
    return cleaned


def _counts(row: Row) -> bool:
    return bool(row["keep"]) or row["reason"] in SPLIT_REASONS


def image_fault(row: Row, cleaning: CleaningSettings) -> str:
    """The reason for which the image itself is unfit, or ""."""
    width, height = row["width"], row["height"]
    if min(width, height) < max(1, cleaning.min_short_side):
        return "short_side"
    return "" if cleaning.min_aspect <= width / height <= cleaning.max_aspect else "aspect_ratio"


def _object_fault(thing: Row, row: Row, cleaning: CleaningSettings) -> str:
    """The reason for which an object is unfit whatever its label's frequency, or ""."""
    x, y, w, h = (thing[side] for side in ("x", "y", "w", "h"))
    if len(thing["synset"].split()) > 1:
        return "object_many_synsets"
    if not all(map(math.isfinite, (x, y, w, h))) or x + w <= x or y + h <= y:
        return "object_bad_box"
    slack = cleaning.box_tolerance
    inside = -slack <= x and -slack <= y and x + w <= row["width"] + slack and y + h <= row["height"] + slack
    # what the tolerance lets through must still show in the image
    visible = x < row["width"] and y < row["height"] and x + w > 0 and y + h > 0
    return "" if inside and visible else "object_outside_image"


def _clean_objects(row: Row, labels: KeptLabels, cleaning: CleaningSettings) -> tuple[list[Row], list[str]]:
    """The objects that stay, under their final names and cut to the image, and the reasons of the others."""
    objects, drops = [], []
    for thing in row["objects"]:
        name = labels.objects.get((thing["label"], thing["synset"]))
        fault = _object_fault(thing, row, cleaning) or ("" if name else "object_label_rare")
        if fault or not name:
            drops.append(fault)
            continue
        x, w = _cut(thing["x"], thing["w"], row["width"])
        y, h = _cut(thing["y"], thing["h"], row["height"])
        objects.append({**thing, "label": name[0], "synset": name[1], "x": x, "y": y, "w": w, "h": h})
    return objects, drops


def _cut(start: float, length: float, limit: int) -> tuple[float, float]:
    """The part of an interval (start, length) between 0 and `limit`, the interval itself where all of it is."""
    if start >= 0 and start + length <= limit:
        return start, length
    left = max(start, 0.0)
    return left, min(start + length, float(limit)) - left


def _with_objects(row: Row, objects: list[Row], drops: list[str], fault_of: Callable[[str, str], str]) -> Row:
    """The row with `objects` and what is said of them alone; `drops` are the reasons of the objects that went.

    `fault_of` gives the drop reason of an attribute or relationship by its kind and label, or "".
    """
    kept = {o["object_id"] for o in objects}
    drops = list(drops)

    def remaining(kind: str, entries: list[Row], *ends: str) -> list[Row]:
        left = []
        for entry in entries:
            there = all(entry[end] in kept for end in ends)
            if fault := fault_of(kind, entry["label"]) if there else f"{kind}_object_removed":
                drops.append(fault)
            else:
                left.append(entry)
        return left

    attributes = remaining("attribute", row["attributes"], "object_id")
    relationships = remaining("relationship", row["relationships"], "subject_id", "object_id")
    return {
        **row,
        "objects": objects,
        "attributes": attributes,
        "relationships": relationships,
        "drops": add_drops(row["drops"], drops),
    }


def remove_invalid_labels(row: Row, invalid: Collection[tuple[str, str]]) -> Row:
    """F.2 step 8: the row without the labels of `invalid` (kind, label), which are no reasonable concepts.

    What was said of a removed object goes with it. Everything removed is counted in `drops`; a row left without objects
    is set aside as `no_objects`.
    """
    if not invalid or not row["keep"]:
        return row
    objects = [o for o in row["objects"] if ("object", o["label"]) not in invalid]
    drops = ["object_label_invalid"] * (len(row["objects"]) - len(objects))

    def fault_of(kind: str, label: str) -> str:
        return f"{kind}_label_invalid" if (kind, label) in invalid else ""

    cleaned = _with_objects(row, objects, drops, fault_of)
    if not objects:
        return {**cleaned, **reject("no_objects", f"none of the labels of its {len(row['objects'])} objects is valid")}
    return cleaned
