"""Every run of the paper finds what it needs among the stand-ins of the downloads."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmgic.checks import Work
from mmgic.checks.run import check_run
from mmgic.presets.runs import paper_runs
from mmgic.settings import load_settings
from mmgic.toy.downloads.rehearsal import FILE
from mmgic.toy.downloads.write import write_downloads


def test_each_run_lacks_at_most_the_run_that_it_fine_tunes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_downloads(tmp_path / "downloads")
    monkeypatch.chdir(tmp_path / "downloads")
    runs = paper_runs()
    folders = {f"{make().output}/training/{make().training.name}" for make in runs.values()}
    first = {f"output/{name}/training/pretrain" for name in ("mmgic-7b", "mmgic-ic-7b")}
    looked_at = set()  # data of several runs
    for name, make in runs.items():
        settings = load_settings(make(), FILE, ["language_model.base_url=http://x.test/v1", "language_model.model=x"])
        works: list[Work] = ["training"] if settings.sources in looked_at else ["data", "training"]
        looked_at.add(settings.sources)
        problems = check_run(settings, works).problems
        start = settings.training.start
        assert [problem for problem in problems if f"'training.start' is {start}" not in problem] == [], name
        assert len(problems) == bool(start), name
        assert not start or start in folders | first, name
