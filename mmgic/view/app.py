"""The page of `mmgic view`: a table's rows with their pictures, and one row in full."""

from __future__ import annotations

import functools
import io
import json
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlencode

from fastapi import Response
from nicegui import app, run, ui

from mmgic.documents.folders import tokens_tables
from mmgic.errors import InputError
from mmgic.images import ImageError, read_image
from mmgic.paths import absolute
from mmgic.pipelines.places import places_near
from mmgic.stages import tables
from mmgic.view.access import TokenGate
from mmgic.view.details import (
    MARKED,
    PICTURED,
    TokenReader,
    concepts,
    marks,
    picture_paths,
    shortened,
    summary,
    token_reader,
)
from mmgic.view.index import Filter, TableIndex

PAGE = 24  # rows of a page
_THUMBNAIL, _LARGE = 240, 900  # most pixels of an edge
_CSS = """
.tokens { line-height: 1.9; font-family: ui-monospace, monospace; font-size: .85rem; white-space: pre-wrap; }
.token.text { background: rgba(37, 99, 168, .10); border-radius: 3px; margin-right: 1px; }
.token.code { display: inline-block; line-height: 1.3; background: rgba(245, 130, 49, .25); border-radius: 3px;
  margin-right: 2px; padding: 0 2px; }
.token.image { background: rgba(60, 180, 75, .30); border-radius: 3px; padding: 0 3px; }
.token.answer { text-decoration: underline; }
"""


class Dataset:
    """The finished tables in a folder, by their names; each is indexed when it is first looked at."""

    def __init__(self, folder: str) -> None:
        self.root = absolute(folder)
        self.places = places_near(folder)
        found = [table.folder for table in tables.finished_tables(folder)]
        if not found:
            raise InputError(f"{folder} holds no finished table; give the output folder of a build, or one table of it")
        self.folders = {table.removeprefix(self.root).strip("/") or PurePosixPath(table).name: table for table in found}
        self._indexes: dict[str, TableIndex] = {}
        self._lock = threading.Lock()

    def index(self, name: str) -> TableIndex:
        """The index of a table; the first call takes seconds for a million rows."""
        with self._lock:
            if name not in self._indexes:
                started = time.monotonic()
                self._indexes[name] = TableIndex(self.folders[name])
                rows = self._indexes[name].count(Filter())
                print(f"{name}: {rows:,} rows indexed in {time.monotonic() - started:.1f} s", flush=True)
            return self._indexes[name]

    def pictures(self, name: str, row_ids: Sequence[int], whole: bool = False) -> dict[int, dict[str, Any]]:
        """By row id, what says where a row's images are: of a document, the row of the tokens table it was made from.

        Their paths are whole, and `whole` rows have all columns.
        """
        index = self.index(name)
        found: dict[int, dict[str, Any]] = {}
        made_of = [table for table in tokens_tables(name) if table in self.folders]
        for table in [name] if PICTURED & set(index.schema.names) else made_of:
            index = self.index(table)
            columns = None if whole else ("row_id", "source", *sorted(PICTURED & set(index.schema.names)))
            rows = index.find([row_id for row_id in row_ids if row_id not in found], columns)
            found |= {row_id: self.places.resolve(row) for row_id, row in rows.items()}
        return found

    @functools.cached_property
    def reader(self) -> TokenReader | None:
        return token_reader(self.root)


def serve(folder: str, host: str, port: int, token: str) -> None:
    """Serves the page until it is interrupted. Raises InputError if `folder` holds no finished table, or if the
    port is taken."""
    dataset = Dataset(folder)
    _check_port(host, port)
    dataset.index(_first(dataset))
    app.add_middleware(TokenGate, token=token)

    @app.get("/picture")  # type: ignore[untyped-decorator]
    def picture(table: str, row: str, number: int = 0, large: bool = False) -> Response:
        return _picture(dataset, table, int(row), number, _LARGE if large else _THUMBNAIL)

    @ui.page("/", title=f"MMGIC {PurePosixPath(dataset.root).name}", response_timeout=60)  # type: ignore[untyped-decorator]
    def page(table: str = "", row: str = "") -> None:
        ui.add_css(_CSS)
        Browser(dataset, table, row).build()

    print(f"open http://{host}:{port}/?token={token}   (stop with Ctrl-C)", flush=True)
    ui.run(host=host, port=port, show=False, reload=False, title="MMGIC", show_welcome_message=False)


def _check_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputError(f"cannot listen on {host}:{port} ({error.strerror}); give another --port") from None


def _first(dataset: Dataset) -> str:
    """The table that is shown first: tokens, which have images, and of these MMGIC's, which have regions."""
    by_interest = sorted(dataset.folders, key=lambda name: (name != "mmgic/tokens", not name.endswith("tokens")))
    return by_interest[0]


def _picture(dataset: Dataset, table: str, row_id: int, number: int, edge: int) -> Response:
    rows = dataset.pictures(table, [row_id]) if table in dataset.folders else {}
    paths = picture_paths(rows.get(row_id, {}))
    if not 0 <= number < len(paths):
        return Response(status_code=404)
    try:
        image = read_image(paths[number])
    except ImageError:
        return Response(status_code=404)
    image.thumbnail((edge, edge))
    data = io.BytesIO()
    image.save(data, "JPEG", quality=88)
    return Response(data.getvalue(), media_type="image/jpeg", headers={"Cache-Control": "max-age=3600"})


class Browser:
    """One person's page: what is filtered, which page is shown, which row is open.

    `table` and `row`, an id, are what the page's address names; it follows what is looked at.
    """

    def __init__(self, dataset: Dataset, table: str, row: str) -> None:
        self.dataset = dataset
        self.table = table if table in dataset.folders else _first(dataset)
        self.asked = row if self.table == table else ""
        self.chosen = Filter()
        self.number = 1
        self.place: int | None = None  # of the open row among the filtered ones
        self.total = 0

    def build(self) -> None:
        with ui.header().classes("items-center bg-slate-700"):
            ui.label("MMGIC").classes("text-lg font-bold")
            ui.label(self.dataset.root).classes("text-sm opacity-70")
        with ui.row().classes("w-full items-end gap-4"):
            ui.select(
                list(self.dataset.folders), value=self.table, label="table", on_change=self._choose_table
            ).classes("w-64")
            self.filters = ui.row().classes("items-end gap-4")
        self.list = ui.column().classes("w-full")
        self.dialog = ui.dialog().props("maximized").on("hide", self._closed)
        ui.keyboard(on_key=self._key, ignore=["input", "select", "textarea"])
        ui.timer(0.01, self._begin, once=True)

    async def _begin(self) -> None:
        await self._open_table()
        if self.asked:
            known = self.asked.removeprefix("-").isdecimal()
            place = await run.io_bound(self._index.place, self.chosen, int(self.asked)) if known else None
            if place is None:
                ui.notify(f"{self.table} has no row {self.asked}", type="warning")
            else:
                await self._open_place(place)

    @property
    def _index(self) -> TableIndex:
        return self.dataset.index(self.table)

    async def _choose_table(self, event: Any) -> None:
        self.table = event.value
        self._set_address()
        await self._open_table()

    async def _open_table(self) -> None:
        self.chosen, self.number = Filter(), 1
        self.list.clear()
        with self.list:
            ui.spinner(size="lg")
        index = await run.io_bound(self.dataset.index, self.table)
        self.filters.clear()
        with self.filters:
            for name in ("source", "form", "reason"):
                options = index.options(name)
                if options:
                    named = {"": "all", **{value: f"{value} ({rows:,})" for value, rows in options.items()}}
                    label = "template or task" if name == "form" else name
                    ui.select(named, value="", label=label, on_change=self._filter(name)).classes("w-56")
            for name, hint in (("label", "label, whole"), ("text", "text, id or part of it")):
                ui.input(hint, on_change=self._filter(name)).props("clearable debounce=400").mark(name)
        await self._show()

    def _filter(self, name: str) -> Any:
        async def change(event: Any) -> None:
            values = {**vars(self.chosen), name: event.value or ""}
            self.chosen, self.number = Filter(**values), 1
            await self._show()

        return change

    async def _turn(self, event: Any) -> None:
        self.number = event.value
        await self._show()

    async def _show(self) -> None:
        index = self._index
        started = time.monotonic()
        self.total = total = await run.io_bound(index.count, self.chosen)
        rows = await run.io_bound(index.page, self.chosen, self.number - 1, PAGE)
        shown = await run.io_bound(self.dataset.pictures, self.table, [row["row_id"] for row in rows])
        self.list.clear()
        with self.list:
            with ui.row().classes("items-center gap-6"):
                ui.label(f"{total:,} rows").mark("total")
                if total > PAGE:
                    pages = -(-total // PAGE)
                    ui.pagination(1, pages, direction_links=True, value=self.number, on_change=self._turn).props(
                        "max-pages=9 input" if pages > 50 else "max-pages=9"
                    )
                ui.label(f"{1000 * (time.monotonic() - started):.0f} ms").classes("text-xs opacity-50")
            with ui.element("div").classes("grid w-full gap-3 grid-cols-[repeat(auto-fill,minmax(15rem,1fr))]"):
                for place, row in enumerate(rows, start=(self.number - 1) * PAGE):
                    self._card(row, place, bool(picture_paths(shown.get(row["row_id"], {}))))

    def _card(self, row: dict[str, Any], place: int, pictured: bool) -> None:
        with ui.card().classes("cursor-pointer p-2 gap-1 row-card").on("click", lambda: self._open_place(place)):
            if pictured:
                ui.image(self._url(row, 0)).classes("h-40 w-full").props("fit=contain loading=lazy")
            ui.label(summary(row)).classes("text-sm")
            notes = [row["source"], row.get("template") or row.get("task") or "", row["reason"]]
            ui.label(" · ".join(filter(None, notes))).classes("text-xs opacity-60")

    def _url(self, row: Mapping[str, Any], number: int, large: bool = False) -> str:
        return f"/picture?table={self.table}&row={row['row_id']}&number={number}&large={str(large).lower()}"

    async def _key(self, event: Any) -> None:
        if self.place is not None and event.action.keydown and (event.key.arrow_left or event.key.arrow_right):
            await self._open_place(self.place + (1 if event.key.arrow_right else -1))

    def _closed(self) -> None:
        self.place = None
        self._set_address()

    def _set_address(self, **row: Any) -> None:
        ui.navigate.history.replace(f"/?{urlencode({'table': self.table, **row})}")

    async def _open_place(self, place: int) -> None:
        """Shows the row at this place among the filtered ones; nothing if there is none."""
        rows = await run.io_bound(self._index.page, self.chosen, place, 1) if place >= 0 else []
        if rows:
            self.place = place
            self._set_address(row=rows[0]["row_id"])
            await self._open(rows[0], place)

    async def _open(self, row: dict[str, Any], place: int) -> None:
        found = await run.io_bound(self.dataset.pictures, self.table, [row["row_id"]], True)
        shown = found.get(row["row_id"], row)
        self.dialog.clear()
        with self.dialog, ui.card().classes("w-full"):
            with ui.row().classes("w-full items-center"):
                ui.label(f"{row['source']} / {row['image_id']}").classes("text-lg font-bold")
                ui.space()
                self._neighbour("chevron_left", place - 1, "previous row")
                ui.label(f"{place + 1:,} of {self.total:,}").classes("text-sm opacity-60")
                self._neighbour("chevron_right", place + 1, "next row")
                ui.button(icon="close", on_click=self.dialog.close).props("flat round")
            if not row["keep"]:
                ui.label(f"set aside: {row['reason']}: {row['detail']}").classes("text-red-700")
            with ui.row().classes("w-full no-wrap items-start gap-6"):
                with ui.column().classes("w-2/5 shrink-0"):
                    self._pictures(row, shown)
                with ui.column().classes("grow min-w-0"):
                    self._texts(row, shown)
        self.dialog.open()

    def _neighbour(self, icon: str, place: int, name: str) -> None:
        button = ui.button(icon=icon, on_click=lambda: self._open_place(place)).props(f'flat round aria-label="{name}"')
        button.set_enabled(0 <= place < self.total)

    def _pictures(self, row: Mapping[str, Any], shown: Mapping[str, Any]) -> None:
        for number, path in enumerate(picture_paths(shown)):
            try:
                image = read_image(path)
            except ImageError as error:
                ui.label(f"{error.reason}: {error.detail}").classes("text-red-700")
                continue
            image.thumbnail((_LARGE, _LARGE))
            view = ui.interactive_image(self._url(row, number, True), size=image.size, sanitize=False)
            view.classes("w-full picture")
            drawings = {kind: marks(shown, image.width, image.height, kind) for kind in MARKED}
            self._switches(view, {kind: drawing for kind, drawing in drawings.items() if drawing})

    def _switches(self, view: Any, drawings: Mapping[str, str]) -> None:
        """A switch for each drawing over a picture; the first one is shown to begin with."""
        switches: dict[str, Any] = {}

        def show() -> None:
            view.set_content("".join(drawing for kind, drawing in drawings.items() if switches[kind].value))

        with ui.row():
            for kind in drawings:
                switches[kind] = ui.switch(kind, value=not switches, on_change=show)
        if drawings:
            show()

    def _texts(self, row: Mapping[str, Any], shown: Mapping[str, Any]) -> None:
        for name in ("caption", "caption_coco", "caption_origin", "caption_capsfusion", "narrative"):
            if shown.get(name):
                ui.label(name.replace("_", " ")).classes("text-xs opacity-60")
                ui.label(shown[name])
        if shown.get("candidates"):
            found = [{**c, "score": f"{c['score']:.3f}"} for c in shown["candidates"]]
            ui.label("caption candidates").classes("text-xs opacity-60")
            candidates = ui.table(rows=found, columns=_columns("score", "round", "caption"))
            candidates.props("dense flat wrap-cells").mark("candidates")
        for turn in row.get("rounds", []):
            for side in ("instruction", "response"):
                text = " ".join(p["text"] if p["image"] < 0 else f"[image {p['image']}]" for p in turn[side])
                ui.label(f"{side}: {text}").classes("text-sm whitespace-pre-wrap")
        if "input_ids" in row:
            count = f"{row['num_visual_tokens']:,} visual and {row['num_text_tokens']:,} text tokens"
            ui.label(f"document: {count}; point at a token for its id").classes("text-xs opacity-60")
            if self.dataset.reader:
                ui.html(self.dataset.reader.html(row["input_ids"], row["answer_spans"])).mark("tokens")
            else:
                ui.label(row["text"]).classes("whitespace-pre-wrap")
                ui.label(" ".join(map(str, row["input_ids"]))).classes("text-xs font-mono")
        if lines := concepts(shown):
            ui.table(rows=lines, columns=_columns("kind", "label", "of"), pagination=12).props("dense flat")
        with ui.expansion("record").classes("w-full"):
            ui.code(json.dumps(shortened(row), indent=2, ensure_ascii=False), language="json").classes("w-full")


def _columns(*names: str) -> list[dict[str, str]]:
    return [{"name": name, "label": name, "field": name, "align": "left"} for name in names]
