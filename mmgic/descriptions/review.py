"""Review files: tables that a program proposes and a person decides. A person's verdict wins at every later run.

They are tab-separated text that any spreadsheet edits. A row that is there is never changed or removed; what is new is
appended. The last two columns are the person's: `verdict` is empty (not looked at), `accept` (what the row proposes,
from now on), `edit` (what the `edit` column says instead) or `reject` (nothing of this).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mmgic.errors import InputError
from mmgic.files import filesystem_of, write_text

VERDICTS = ("", "accept", "edit", "reject")
_PERSONAL = ("verdict", "edit")


@dataclass(frozen=True)
class ReviewForm:
    """The columns of one kind of review file: those that say what a row is about, then what a program says of it."""

    key: tuple[str, ...]
    proposed: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.key, *self.proposed, *_PERSONAL)


ReviewRow = Mapping[str, str]


def read_review(path: str, form: ReviewForm, must_exist: bool = False) -> dict[tuple[str, ...], ReviewRow]:
    """The rows by their key columns; empty if there is no file, if it need not exist.

    Raises InputError, with the line's number, for a row that lacks columns, whose verdict is none, that has an `edit`
    verdict and no text for it, or that is about the same thing as an earlier one.
    """
    text = _read(path)
    if must_exist and not text:
        raise InputError(f"there is no review file {path}; `mmgic describe-labels` writes it")
    return _parse(text, path, form)


def append_review(path: str, form: ReviewForm, rows: Iterable[ReviewRow]) -> int:
    """Appends the rows whose key the file does not have yet, without a verdict, and returns their number."""
    before = _read(path)
    known = _parse(before, path, form)
    new = [row for row in rows if tuple(row[name] for name in form.key) not in known]
    if not new:
        return 0
    text = io.StringIO()
    writer = csv.writer(text, "excel-tab", lineterminator="\n")
    if not before.strip():
        writer.writerow(form.columns)
    writer.writerows([_cell(row.get(name, "")) for name in form.columns] for row in new)
    ended = before if not before or before.endswith("\n") else f"{before}\n"
    write_text(path, ended + text.getvalue())
    return len(new)


def _cell(text: str) -> str:
    """`text` on one line."""
    return " ".join(str(text).split())


def _read(path: str) -> str:
    """The text with its line ends as they are, so that what is kept is kept to the byte."""
    try:
        filesystem, local = filesystem_of(path)
        return bytes(filesystem.cat_file(local)).decode() if filesystem.exists(local) else ""
    except OSError as error:
        raise InputError(f"cannot read the review file {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; save the review file as UTF-8, tab-separated") from None


def _parse(text: str, path: str, form: ReviewForm) -> dict[tuple[str, ...], ReviewRow]:
    lines = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), "excel-tab", strict=True)
    rows: dict[tuple[str, ...], ReviewRow] = {}
    try:
        header: Sequence[str] = next(lines, form.columns)
        absent = [name for name in form.columns if name not in header]
        if absent:
            raise InputError(f"{path}, line 1: the columns {', '.join(absent)} are missing; keep the header as it was")
        for cells in lines:
            if not any(cells):
                continue
            row = _checked(dict(zip(header, cells, strict=False)), f"{path}, line {lines.line_num}", form)
            key = tuple(row[name] for name in form.key)
            if key in rows:
                raise InputError(
                    f"{path}, line {lines.line_num}: '{key[-1]}' was on an earlier line already; keep one of the two"
                )
            rows[key] = row
    except csv.Error as error:
        raise InputError(f"{path}, line {lines.line_num}: this is no tab-separated row ({error})") from None
    return rows


def _checked(row: dict[str, str], where: str, form: ReviewForm) -> dict[str, str]:
    if not set(form.key) | set(form.proposed) <= set(row):
        raise InputError(f"{where}: the row ends too early; it needs the columns {', '.join(form.columns)}")
    # an editor may leave out empty cells at a row's end
    row = {**row, "verdict": row.get("verdict", "").strip().lower(), "edit": _cell(row.get("edit", ""))}
    if row["verdict"] not in VERDICTS:
        raise InputError(f"{where}: the verdict is '{row['verdict']}'; write accept, edit or reject, or leave it empty")
    if row["verdict"] == "edit" and not row["edit"]:
        raise InputError(f"{where}: the verdict is edit, but the column 'edit' is empty; write what to use instead")
    return row
