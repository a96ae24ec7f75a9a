"""One self-contained HTML page about a run: counts, losses, scores, and what the data and the captions look like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from mmgic.analysis.circumstances import circumstances
from mmgic.analysis.figures import curves, image_uri, picture_uri
from mmgic.analysis.outcome import facts, model_folder, next_steps, other_runs, stage_starts
from mmgic.analysis.statistics import statistics
from mmgic.analysis.statistics_figures import statistics_figures
from mmgic.analysis.statistics_tables import statistics_tables
from mmgic.analysis.summary import EVALUATIONS, LOSSES, RunSummary, summarize
from mmgic.analysis.words import MarkedWord, marked_words
from mmgic.documents.folders import document_tables
from mmgic.errors import InputError
from mmgic.evaluation.results import AskedItem, label, read_items
from mmgic.files import write_text
from mmgic.images import ImageError, read_image
from mmgic.pipelines.places import places_of
from mmgic.settings import Settings, to_yaml
from mmgic.stages.places import Places
from mmgic.stages.tables import Table, open_table, select

REPORT_FILE = "report.html"
_IMAGES, _ITEMS, _PANELS, _DRAWINGS = 6, 9, 3, 4  # examples shown
_ROWS = 500  # of a table or source, among which examples are looked for


@dataclass(frozen=True)
class Picture:
    """An image as the page holds it; `uri` is empty where the image cannot be read any more."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Drawing:
    """A caption, the image that it was written for, and the picture that the model drew for it."""

    caption: str
    original: Picture
    drawn: Picture


@dataclass(frozen=True)
class ItemExample:
    pictures: list[Picture]
    question: str
    target: Sequence[str]
    answers: dict[str, list[MarkedWord]]  # by evaluation name


def report_on(settings: Settings) -> None:
    """Writes the report of a run that has come to its end, or to the end of a part, and prints where it is.

    A run whose output is no local folder has none.
    """
    if "://" in settings.output:
        print("report: none, since 'output' is not a local folder")
    else:
        print(f"report: {write_report(Path(settings.output), settings).resolve()}")


def write_report(output_folder: Path, settings: Settings) -> Path:
    """Writes `<output_folder>/report.html` from what is in the run folder and returns its path.

    The page needs no network and no other file. Parts of the run that are not there are left out; InputError if
    nothing is.
    """
    output_folder = Path(output_folder)
    summary = summarize(output_folder, settings)
    others = other_runs(output_folder, settings)
    if not summary.tables and not summary.steps and not summary.evaluations and not others:
        raise InputError(f"{output_folder} holds no finished stage, training or evaluation to report on")
    places = places_of(replace(settings, output=str(output_folder)))
    images = list(islice(_annotated_images(places), _IMAGES))
    found = statistics(output_folder, settings.documents) if summary.tables else None
    # autoescape: labels, captions and file names come from other people's files
    environment = Environment(
        loader=PackageLoader("mmgic.analysis", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.j2").render(
        preset=settings.preset,
        toy=settings.toy.scenes > 0,
        summary=summary,
        labels=EVALUATIONS,
        label=label,
        printed="{:.1f}".format,
        settings=to_yaml(settings),
        facts=facts(output_folder, settings, summary) | circumstances(),
        next_steps=next_steps(output_folder, settings),
        objective=settings.loss,
        charts=_charts(summary, settings),
        others=others,
        drawings=_drawings(images, model_folder(output_folder, settings), settings),
        statistics=statistics_tables(found) if found else [],
        figures=statistics_figures(found) if found else {},
        images=images,
        panels=_panels([example["row"] for example in images[:_PANELS]], settings),
        documents=_documents(document_tables(summary.tables, settings.documents)),
        answered=_answered(output_folder, summary),
    )
    path = output_folder / REPORT_FILE
    write_text(str(path), page)
    return path


def _charts(summary: RunSummary, settings: Settings) -> list[str]:
    if not summary.steps:
        return []
    stages = stage_starts(summary.steps, [stage.strip() for stage in settings.training.curriculum.split("->")])
    return [
        curves(summary.steps, series, label, stages, smooth=smooth)
        for series, label, smooth in (
            (LOSSES, "loss", True),
            ({"learning_rate": "learning rate"}, "learning rate", False),
            ({"tokens_per_second": "tokens/s"}, "tokens per second", True),
            ({"data_wait": "waiting"}, "share of time waiting for data", True),
        )
    ]


def _annotated_images(places: Places) -> Iterator[dict[str, Any]]:
    """{"picture", "row"} of tokenized images with at least two regions, the sources taking turns."""
    table = places.table("mmgic/tokens")
    for row in map(places.resolve, _rows_in_turn(table) if table else ()):
        if len(row["regions"]) >= 2 and (picture := _picture(row["image_path"])).uri:
            yield {"picture": picture, "row": row}


def _panels(rows: Sequence[Mapping[str, Any]], settings: Settings) -> list[dict[str, str]]:
    """Each image beside its kept patches and the picture that its codes draw, where the settings name what draws."""
    if not settings.vision.pixels:
        return []
    # heavy, and needed only if a report shows what the codes draw
    from mmgic.vision import load_tokenizer
    from mmgic.vision.pixels.pixel_decoder import load_pixel_decoder
    from mmgic.vision.reconstruct import data_uri, panel, reconstruct

    tokenizer = load_tokenizer(settings.vision.checkpoint, settings.vision.dtype)
    pixels = load_pixel_decoder(settings.vision.pixels)
    panels = []
    for row in rows:
        drawn = reconstruct(
            read_image(row["image_path"]),
            tokenizer,
            pixels,
            selection=settings.vision.selection,
            seed=settings.seed,
            source=row["source"],
            name=row["image_id"],
            codes=row["codes"],
        )
        note = f"{row['source']} {row['image_id']}, {len(drawn.tokens.codes)} tokens"
        panels.append({"uri": data_uri(panel(drawn, edge=192)), "note": note})
    return panels


def _drawings(images: Sequence[Mapping[str, Any]], model: Path | None, settings: Settings) -> list[Drawing]:
    """What the trained model draws for the captions of images, where the settings name what draws."""
    captioned = [example for example in images if example["row"]["caption"]][:_DRAWINGS]
    whole = model is not None and (model / "processor_config.json").is_file()  # older exports are without
    if model is None or not whole or not settings.vision.pixels or not captioned:
        return []
    from mmgic.exported.processor import MMGICProcessor
    from mmgic.model.pretrained import load_llama

    processor, llama = MMGICProcessor.from_pretrained(model), load_llama(model, "auto")
    drawings = []
    for example in captioned:
        caption = example["row"]["caption"]
        drawn = processor.draw(llama, caption, pixels=settings.vision.pixels, seed=settings.seed)
        drawings.append(Drawing(caption, example["picture"], Picture(*picture_uri(drawn))))
    return drawings


def _documents(tables: Sequence[Table]) -> list[dict[str, Any]]:
    """One filled document for each form of template, if there is one."""
    examples: dict[tuple[str, bool], dict[str, Any]] = {}
    for table in tables:
        for row in _kept_rows(table):
            examples.setdefault((row["template"], row["with_descriptions"]), row)
    return [examples[form] for form in sorted(examples)]


def _answered(output_folder: Path, summary: RunSummary) -> dict[str, list[ItemExample]]:
    """The first items of each benchmark by its title, about an image each, with what each evaluated model said."""
    said = {name: read_items(output_folder / "evaluation" / name) for name in summary.evaluations}
    answers: dict[tuple[object, ...], dict[str, str]] = {}
    for name, items in said.items():
        for item in items:
            answers.setdefault((item.benchmark, item.part, item.id), {})[name] = item.answer
    titles = {found.benchmark: found.title for results in summary.evaluations.values() for found in results.benchmarks}
    examples: dict[str, list[ItemExample]] = {title: [] for title in titles.values()}
    subjects: set[tuple[object, ...]] = set()
    for item in (item for items in said.values() for item in items):
        found, subject = examples[titles[item.benchmark]], (item.benchmark, *(item.images or (item.id,)))
        if len(found) < _ITEMS and subject not in subjects:
            subjects.add(subject)
            found.append(_example(item, answers[item.benchmark, item.part, item.id]))
    return {title: found for title, found in examples.items() if found}


def _example(item: AskedItem, answers: dict[str, str]) -> ItemExample:
    marked = {name: marked_words(answer, item.target) for name, answer in answers.items()}
    return ItemExample([_picture(path) for path in item.images], item.question, item.target, marked)


def _rows_in_turn(table: Table) -> Iterator[dict[str, Any]]:
    """Kept rows of a table: the first of each source, then the second of each, and so on."""
    waiting = [_kept_rows(table, source) for source in sorted(table.manifest.sources)]
    while waiting:
        for rows in list(waiting):
            row = next(rows, None)
            if row is None:
                waiting.remove(rows)
            else:
                yield row


def _kept_rows(table: Table, source: str = "") -> Iterator[dict[str, Any]]:
    """The first kept rows of a table, read in small batches as they are looked at; without token ids."""
    rows = open_table(table.folder)
    columns = [name for name in rows.schema.names if name != "input_ids"]
    selection = select([source] if source else [])
    batches = rows.to_batches(columns, filter=selection, batch_size=64, batch_readahead=1, fragment_readahead=1)
    yield from islice((row for batch in batches for row in batch.to_pylist()), _ROWS)


def _picture(path: str | Path) -> Picture:
    try:
        return Picture(*image_uri(path))
    except ImageError:
        return Picture("", 0, 0)
