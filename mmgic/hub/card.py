"""The dataset card of an export: the rows' sources and terms, their numbers, and how they were made."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow.dataset
import yaml

from mmgic.hub.layout import DATA, IMAGE, IMAGES, PICTURES, ExportRecord
from mmgic.pipelines.places import run_near
from mmgic.sources.formats import FORMATS
from mmgic.stages import tables
from mmgic.stages.tables import Manifest

UNKNOWN = "see the source"

COLUMNS = {
    "row_id": "stable id of source, record and repeat",
    "source": "name of the source",
    "image_id": "the source's own id",
    "keep": "whether the row was kept; others say in `reason` why not",
    "reason": "why the row was set aside, or empty",
    "detail": "what exactly was wrong",
    "caption": "coarse annotation; empty if there is none",
    "narrative": "localized narrative; empty if there is none",
    "objects": "labels with boxes in pixels of the original image",
    "attributes": "labels of objects",
    "relationships": "subject, label, object",
    "regions": "square crops as fractions of the image, with location, labels and visual codes",
    "codes": "visual codes of the whole image",
    "drops": "what was taken out of the row, counted by reason",
    "caption_origin": "caption from the web",
    "caption_coco": "short, synthesized caption",
    "caption_capsfusion": "detailed caption",
    "images": "the row's images in order",
    "rounds": "instructions and responses as parts of text and images",
    "text": "the filled template; [IMG] stands for an image's tokens",
    "input_ids": "tokens of text and images",
    "answer_spans": "[start, end) of the tokens that alone are supervised; empty: all",
    IMAGE: "the image file",
    IMAGES: "the image files of `images`",
    PICTURES: "the files of the images that the document shows, regions being parts of the first",
}


def dataset_card(
    dataset: str,
    table: pyarrow.dataset.Dataset,
    manifests: Sequence[Manifest],
    record: ExportRecord,
    with_images: bool,
) -> str:
    """README.md with the metadata that the Hub and `load_dataset` read."""
    stage = record.recipe["stage"]
    run_folder, run = run_near(dataset)
    formats = {str(source["name"]): str(source["format"]) for source in run.get("sources", [])}
    rows, kept = _sums(manifest.sources for manifest in manifests)
    reasons = _added(manifest.reasons for manifest in manifests)
    drops = _added(manifest.drops for manifest in manifests)
    preset = f" and the preset `{run['preset']}`" if run else ""
    names = [*table.schema.names, *([IMAGE if "image_path" in table.schema.names else IMAGES] if with_images else [])]
    parts = [
        _front_matter(stage, record.rows),
        f"# MMGIC {stage}",
        f"{record.rows:,} rows of the stage `{stage}`, {sum(kept.values()):,} of them kept, made with "
        f"MMGIC's data pipeline{preset}. "
        f"{_about_images(record, with_images)}",
        _code("from datasets import load_dataset", 'rows = load_dataset("<this folder>", split="train")')
        + "\n\nRows that were set aside are part of the dataset: `rows.filter(lambda row: row['keep'])` leaves the "
        "others. `mmgic import <this folder> OUTPUT` makes the stage's table again.",
        "## Sources",
        _table(
            ("source", "format", "rows", "kept", "terms"),
            [(n, formats.get(n, UNKNOWN), f"{rows[n]:,}", f"{kept[n]:,}", _terms(formats.get(n, ""))) for n in rows],
        ),
        "The terms are those of the sources' own files; this collection adds none.",
        "## Rows set aside",
        _counts("reason", reasons) or "None.",
        "## Taken out of rows",
        _counts("what", drops) or "Nothing.",
        "## Columns",
        _table(
            ("column", "type", "meaning"),
            [(f"`{name}`", f"`{_kind(table, name)}`", COLUMNS.get(name, "")) for name in names],
        ),
        "## How it was made",
        f"The stage's settings; `input` is the fingerprint of the table it was made from. It took "
        f"{record.seconds:,.0f} s and read {record.rows_in:,} rows.",
        _code(yaml.safe_dump(dict(record.recipe), sort_keys=False).rstrip(), language="yaml"),
    ]
    if run:
        parts += _whole_run(posixpath.join(run_folder, stage.split("/")[0]), run)
    return "\n\n".join(parts) + "\n"


def _front_matter(stage: str, rows: int) -> str:
    front = {
        "pretty_name": f"MMGIC {stage}",
        "license": "other",
        "language": ["en"],
        "size_categories": [_size_category(rows)],
        "tags": ["image", "text", "multimodal", "mmgic"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": f"{DATA}/train-*.parquet"}]}],
    }
    return f"---\n{yaml.safe_dump(front, sort_keys=False)}---"


def _whole_run(corpus: str, run: Mapping[str, Any]) -> list[str]:
    """The stages in the folder `corpus`, and the settings of the `run` that made them."""
    settings = yaml.safe_dump(dict(run), sort_keys=False).rstrip()
    return [
        f"All finished stages of `{posixpath.basename(corpus)}`:",
        _stages(corpus),
        "The settings of the whole run:",
        _code(settings, language="yaml"),
    ]


def _terms(name: str) -> str:
    return FORMATS[name].terms if name in FORMATS else UNKNOWN


def _about_images(record: ExportRecord, with_images: bool) -> str:
    if not with_images:
        return "Image files are not part of this dataset."
    if not record.not_embedded:
        return "Image files are embedded."
    reasons = ", ".join(f"`{reason}` {number:,}" for reason, number in record.not_embedded.items())
    return f"Image files are embedded, but for {sum(record.not_embedded.values()):,} of kept rows ({reasons})."


def _stages(folder: str) -> str:
    """What each finished stage of a corpus did with its rows, the first one first."""
    lines = []
    for manifest in (table.manifest for table in tables.finished_tables(folder)):
        reasons = ", ".join(f"`{reason}` {number:,}" for reason, number in manifest.reasons.items())
        lines.append((f"`{manifest.name}`", f"{manifest.rows_in:,}", f"{manifest.kept:,}", reasons))
    return _table(("stage", "rows read", "kept", "set aside"), lines)


def _sums(sources: Iterable[Mapping[str, Mapping[str, int]]]) -> tuple[Counter[str], Counter[str]]:
    rows: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    for counts in sources:
        for name, numbers in counts.items():
            rows[name] += numbers["rows"]
            kept[name] += numbers["kept"]
    return rows, kept


def _added(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for part in counts:
        total.update(part)
    return total


def _kind(table: pyarrow.dataset.Dataset, name: str) -> str:
    if name in (IMAGE, IMAGES):
        return "Image" if name == IMAGE else "list of Image"
    return str(table.schema.field(name).type)


def _size_category(rows: int) -> str:
    below = next((limit for limit in (3, 4, 5, 6, 7, 8, 9) if rows < 10**limit), 9)
    names = {3: "n<1K", 4: "1K<n<10K", 5: "10K<n<100K", 6: "100K<n<1M", 7: "1M<n<10M", 8: "10M<n<100M", 9: "100M<n<1B"}
    return names[below]


def _counts(head: str, counts: Counter[str]) -> str:
    lines = [(f"`{name}`", f"{number:,}") for name, number in counts.most_common()]
    return _table((head, "number"), lines) if lines else ""


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in rows)


def _code(*lines: str, language: str = "python") -> str:
    text = "\n".join(lines)
    fence = "```"
    while fence in text:  # a setting may hold any text
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"
