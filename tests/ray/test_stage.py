"""The stage engine: every row once, whatever is killed on the way, and clear sentences where it must refuse."""

import gc
import importlib.util
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from ray import cloudpickle

from mmgic.cleaning.labels import LabelCounts
from mmgic.errors import InputError
from mmgic.files import remove
from mmgic.schema import KEPT, reject, row_id
from mmgic.stages import tables
from mmgic.stages.digest import digest
from mmgic.stages.ingest import ingest
from mmgic.stages.passes import fold
from mmgic.stages.places import Places
from mmgic.stages.reporting import start_tally
from mmgic.stages.rows import EachRow
from mmgic.stages.tables import Table

DRIVER = Path(__file__).with_name("stage_driver.py")
_spec = importlib.util.spec_from_file_location("stage_driver", DRIVER)
driver = sys.modules["stage_driver"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(driver)
for module in (driver, sys.modules[__name__]):
    cloudpickle.register_pickle_by_value(module)  # workers cannot import test files

ROWS = 300
pytestmark = pytest.mark.usefixtures("ray_cluster")


def numbers(source: str = "a", rows: int = ROWS) -> list[dict]:
    """Rows of which every fifth was set aside by the stage before."""
    return [
        {
            "row_id": row_id(source, str(i)),
            "source": source,
            "image_id": str(i),
            "number": i,
            **(reject("short_side") if i % 5 == 0 else KEPT),
        }
        for i in range(rows)
    ]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    readers = [lambda: iter(numbers("a")), lambda: iter(numbers("b", 60))]
    return ingest("numbers", Places(str(tmp_path)), driver.NUMBERS, readers, {"rows": ROWS}, rows_per_file=70)


def test_every_kept_row_once_with_counts(table: Table, tmp_path: Path) -> None:
    manifest = driver.run(table, str(tmp_path / "out")).manifest
    read = [row for row in numbers("a") + numbers("b", 60) if row["keep"]]
    rows = tables.open_table(str(tmp_path / "out" / "draw")).to_table().to_pylist()
    assert sorted(row["row_id"] for row in rows) == sorted(row["row_id"] for row in read)
    assert all(row == {**driver.draw(original), "detail": row["detail"]} for row, original in pairs(rows, read))

    set_aside = sum(row["number"] % 7 == 0 for row in read)
    assert (manifest.rows_in, manifest.rows_out, manifest.kept) == (len(read), len(read), len(read) - set_aside)
    assert manifest.reasons == {"no_objects": set_aside}
    assert manifest.sources["b"]["rows"] == 48
    assert json.loads((tmp_path / "out" / "draw" / "manifest.json").read_text())["rows_out"] == len(read)
    assert "seed: 0" in (tmp_path / "out" / "draw" / "settings.yaml").read_text()
    assert not (tmp_path / "out" / "draw.checkpoint").exists()


def pairs(rows: list[dict], originals: list[dict]) -> list[tuple[dict, dict]]:
    by_id = {row["row_id"]: row for row in originals}
    return [(row, by_id[row["row_id"]]) for row in rows]


def test_finished_stage_is_skipped_and_other_settings_are_refused(table: Table, tmp_path: Path) -> None:
    first = driver.run(table, str(tmp_path / "out"))
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "draw").iterdir()}
    assert driver.run(table, str(tmp_path / "out")) == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "draw").iterdir()} == files
    with pytest.raises(InputError, match=r"built with seed = 0, now 1; delete"):
        driver.run(table, str(tmp_path / "out"), settings={"seed": 1})
    with pytest.raises(InputError, match=r"built with sources"):
        driver.run(table, str(tmp_path / "out"), sources=("a",))

    readers = [lambda: iter(numbers("a"))]
    other = ingest("numbers", Places(str(tmp_path / "other")), driver.NUMBERS, readers, {"rows": "others"})
    with pytest.raises(InputError, match="built from another input"):
        driver.run(other, str(tmp_path / "out"))


def test_sources_choose_rows_and_workers_do_not_matter(table: Table, tmp_path: Path) -> None:
    results = []
    for workers, block, call in ((1, 40, 10), (2, 17, 5)):
        output = str(tmp_path / f"out{workers}")
        changes = {"workers": workers, "rows_per_block": block, "rows_per_call": call}
        driver.run(table, output, sources=("b",), **changes)
        results.append(digest(output))
    assert results[0] == results[1]
    rows = tables.open_table(f"{output}/draw").to_table().to_pylist()
    assert {row["source"] for row in rows} == {"b"}
    assert len(rows) == 48


def test_what_was_made_of_a_table_that_is_gone_is_refused(table: Table, tmp_path: Path) -> None:
    # a folder's name is no pattern: the table of a sibling that would fit it is another's
    shutil.copytree(table.folder, tmp_path / "fetched%" / "draw")
    fetched, later = str(tmp_path / "f[e]tched*"), str(tmp_path / "later")
    for _ in range(2):  # the second time all is done
        driver.run(driver.run(table, fetched, repeatable=False, sources=("b",)), later)
    remove(fetched)
    again = driver.run(table, fetched, repeatable=False, sources=("b",))
    with pytest.raises(InputError, match="later/draw was built from another input; delete "):
        driver.run(again, later)


class DieOnce:
    """Holds a model, as it were; its process is killed with SIGKILL at a certain row, once."""

    def __init__(self, marker: str) -> None:
        self.marker = Path(marker)

    def __call__(self, rows: list[dict]) -> list[dict]:
        if any(row["number"] == 132 for row in rows) and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return [driver.draw(row) for row in rows]


def test_killed_worker_costs_no_row(table: Table, tmp_path: Path) -> None:
    marker = tmp_path / "died"
    changes = {"make_transform": partial(DieOnce, str(marker)), "actors": True, "workers": 2}
    driver.run(table, str(tmp_path / "killed"), **changes)
    assert marker.exists()
    driver.run(table, str(tmp_path / "calm"))
    assert digest(str(tmp_path / "killed")) == digest(str(tmp_path / "calm"))


def test_killed_driver_goes_on_to_the_same_rows(table: Table, tmp_path: Path, ray_cluster: str) -> None:
    output = tmp_path / "killed"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, str(DRIVER), ray_cluster, table.folder, str(output)]
    chance = random.Random()
    committed = 0
    for _ in range(2):
        process = subprocess.Popen([*command, "0.03"], env=environment, stdout=subprocess.DEVNULL)
        wait_for(lambda before=committed, process=process: blocks(output) > before or process.poll() is not None)
        time.sleep(chance.random())
        process.kill()
        process.wait()
        assert tables.find_table(f"{output}/draw") is None
        committed = blocks(output)
        assert committed
    finished = subprocess.run([*command, "0"], env=environment, capture_output=True, text=True, check=True)
    assert "288 rows in" in finished.stdout
    driver.run(table, str(tmp_path / "calm"))
    assert digest(str(output)) == digest(str(tmp_path / "calm"))


def blocks(output: Path) -> int:
    return sum("pending" not in path.name for path in Path(output, "draw.checkpoint").glob("*.parquet"))


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def fail_often(row: dict) -> dict:
    if row["number"] % 3 == 0:
        raise KeyError("boom")
    return driver.draw(row)


def test_a_failing_row_is_set_aside_and_too_many_stop_the_stage(table: Table, tmp_path: Path) -> None:
    output, make = str(tmp_path / "out"), partial(EachRow, fail_often)
    with pytest.raises(InputError, match=r"more than 5.0% .*such as [ab]:\d+, stage_error: KeyError: 'boom'.*delete"):
        driver.run(table, output, make_transform=make)
    assert tables.find_table(f"{output}/draw") is None
    tolerant = driver.run(table, str(tmp_path / "tolerant"), make_transform=make, max_error_rate=0.5).manifest
    assert tolerant.reasons["stage_error"] == sum(row["number"] % 3 == 0 for row in numbers() if row["keep"]) + 16


class NoModel:
    def __init__(self) -> None:
        raise InputError("there is no checkpoint in /nowhere; set vision.checkpoint")

    def __call__(self, rows: list[dict]) -> list[dict]:
        return rows


def test_an_input_error_of_a_worker_reaches_the_user_as_its_sentence(table: Table, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^there is no checkpoint in /nowhere; set vision.checkpoint$"):
        driver.run(table, str(tmp_path / "out"), make_transform=NoModel, actors=True)


def misspell(row: dict) -> dict:
    drawn = driver.draw(row)
    return {("drown" if name == "drawn" else name): value for name, value in drawn.items()}


def test_a_column_that_was_not_made_is_never_invented(table: Table, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"ColumnFault: stage 'draw': the kept row a:\d+ lacks the column 'drawn'"):
        driver.run(table, str(tmp_path / "out"), make_transform=partial(EachRow, misspell))
    assert tables.find_table(f"{tmp_path}/out/draw") is None
    rows = numbers("a", 3)
    del rows[1]["number"]
    with pytest.raises(Exception, match=r"ColumnFault: stage 'numbers': the kept row a:1 lacks the column 'number'"):
        ingest("numbers", Places(str(tmp_path / "other")), driver.NUMBERS, [lambda: iter(rows)], {})


def test_lost_and_repeated_rows_are_refused(table: Table, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="did not return one row for each row"):
        driver.run(table, str(tmp_path / "out"), make_transform=lambda: lambda rows: rows[1:])

    driver.run(table, str(tmp_path / "whole"))
    read, written = tables.open_table(table.folder), tables.open_table(str(tmp_path / "whole" / "draw"))
    selection = tables.select()
    tables.check_same_ids(read, written, selection, 288)
    parts = sorted((tmp_path / "whole" / "draw").glob("*.parquet"))
    parts[0].rename(tmp_path / "taken")
    with pytest.raises(InputError, match="rows are missing"):
        tables.check_same_ids(read, tables.open_table(str(tmp_path / "whole" / "draw")), selection, 288)
    for name in (parts[0].name, "twice.parquet"):
        (tmp_path / "whole" / "draw" / name).write_bytes((tmp_path / "taken").read_bytes())
    with pytest.raises(InputError, match="occur more than once"):
        tables.check_same_ids(read, tables.open_table(str(tmp_path / "whole" / "draw")), selection, 288)


def test_ingest_refuses_two_records_with_one_id(tmp_path: Path) -> None:
    readers = [lambda: iter(numbers("a", 20)), lambda: iter(numbers("a", 3))]
    with pytest.raises(InputError, match=r"3 row ids occur more than once .*a:"):
        ingest("numbers", Places(str(tmp_path)), driver.NUMBERS, readers, {})


def test_ingest_goes_on_after_a_source_was_cut_short(tmp_path: Path) -> None:
    def broken() -> list[dict]:
        yield from numbers("b", 50)
        raise InputError("b.json is cut short; download it again")

    settings, places = {"files": "the same"}, Places(str(tmp_path))
    with pytest.raises(InputError, match=r"^b.json is cut short; download it again$"):
        ingest("numbers", places, driver.NUMBERS, [lambda: iter(numbers("a")), broken], settings, rows_per_file=20)
    mended = [lambda: iter(numbers("a")), lambda: iter(numbers("b", 60))]
    manifest = ingest("numbers", places, driver.NUMBERS, mended, settings, rows_per_file=20).manifest
    assert (manifest.rows_out, manifest.sources["b"]["rows"]) == (ROWS + 60, 60)


def test_one_bad_source_among_six_ends_in_one_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def full() -> list[dict]:
        yield from numbers("b", 50)
        raise sqlite3.OperationalError("database or disk is full")

    good = [partial(numbers, str(i), 5000) for i in range(5)]
    with pytest.raises(InputError, match=r"^/.*: SQLite says: database or disk is full; make room there"):
        ingest("numbers", Places(str(tmp_path)), driver.NUMBERS, [*good[:3], full, *good[3:]], {}, rows_per_file=20)
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_reader_that_is_killed_ends_in_a_sentence(tmp_path: Path) -> None:
    def killed() -> list[dict]:
        yield from numbers("b", 50)
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(InputError, match=r"a process that worked on .*numbers was lost \(.*\); if it was"):
        ingest("numbers", Places(str(tmp_path)), driver.NUMBERS, [killed], {}, rows_per_file=20)


def test_fold_sums_over_all_rows(table: Table) -> None:
    assert fold(table, lambda rows: sum(row["number"] for row in rows)) == sum(range(ROWS)) + sum(range(60))


def test_rows_that_cannot_be_stored_are_set_aside(tmp_path: Path) -> None:
    rows = numbers("a", 40)
    rows[7]["number"], rows[11]["detail"], rows[12]["number"] = 1 << 70, "half of a pair: \ud83d", "seven"
    made = ingest("numbers", Places(str(tmp_path)), driver.NUMBERS, [lambda: iter(rows)], {}, max_error_rate=0.1)
    manifest = made.manifest
    assert (manifest.rows_out, manifest.reasons) == (40, {"bad_record": 3, "short_side": 8})
    stored = tables.open_table(made.folder).to_table().to_pylist()
    names = ("row_id", "source", "image_id")
    assert [[row[name] for name in names] for row in stored] == [[row[name] for name in names] for row in rows]
    assert [i for i, row in enumerate(stored) if row["reason"] == "bad_record"] == [7, 11, 12]
    assert "UnicodeEncodeError" in stored[11]["detail"]


def test_fold_adds_every_block_in_place(table: Table) -> None:
    assert not hasattr(LabelCounts, "__add__")  # which would copy what there is so far for every block
    found = fold(table, lambda rows: LabelCounts(attributes=Counter(row["source"] for row in rows)))
    assert found == LabelCounts(attributes=Counter(a=ROWS, b=60))


def test_the_tally_of_a_driver_outlives_its_stages() -> None:
    first = start_tally(3)
    assert (first.add(1, 5, 0), first.rows()) == (True, 5)
    actor = first.tallies._actor_id
    del first
    gc.collect()
    second = start_tally(3)
    assert second.tallies._actor_id == actor
    assert second.rows() == 0
    assert not second.add(1, 8, 4)
    second.fail("no")
    second.fail("nor this")
    assert second.problem() == "no"


def test_stage_without_its_table_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not finished; run the stage that makes it first"):
        tables.read_table(str(tmp_path / "none"))
