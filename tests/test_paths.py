"""Paths as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmgic.files import find_files, read_text, write_text
from mmgic.paths import absolute, is_local, plain, plain_arguments
from mmgic.presets import preset
from mmgic.settings import load_settings
from mmgic.training.store import store_folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_home_and_file_urls(home: Path) -> None:
    assert plain("~") == plain("file://~") == str(home)
    assert absolute("~/a/../b") == f"{home}/b"
    assert plain("file:///data/x%20y") == plain("file://localhost/data/x%20y") == "/data/x%20y"
    assert (absolute("file:///data/"), is_local("file:///data")) == ("/data", True)
    assert (absolute("s3://bucket/x/"), is_local("s3://bucket/x")) == ("s3://bucket/x", False)
    assert [plain(name) for name in ("a~b", "what?", "a*[b]", "memory://x")] == ["a~b", "what?", "a*[b]", "memory://x"]


def test_settings_and_command_lines_hold_plain_paths(home: Path) -> None:
    sources = "sources=[{name: a, format: coco, path: ~/coco, karpathy: 'file:///data/k.json'}]"
    settings = load_settings(preset("toy"), None, ["output=~/out", "model.llm=file:///models/llama", sources])
    assert (settings.output, settings.model.llm) == (f"{home}/out", "/models/llama")
    assert (settings.sources[0].path, settings.sources[0].karpathy) == (f"{home}/coco", "/data/k.json")
    assert str(store_folder(settings)).startswith(f"{home}/out/store")
    given = ["--to=~/x", "~/y", "file:///z", "--set", "a.b=~/c", "~ words", "--flag"]
    assert plain_arguments(given) == [f"--to={home}/x", f"{home}/y", "/z", "--set", "a.b=~/c", "~ words", "--flag"]


@pytest.mark.parametrize("name", ["a::b", "what?", "[x]*", "%41", "a b;c", "#frag"])
def test_every_mark_in_a_folders_name_is_the_names(tmp_path: Path, name: str) -> None:
    for path in (f"{tmp_path}/{name}/f.txt", f"file://{tmp_path}/{name}/g.txt"):
        write_text(path, "text")
        assert read_text(path) == "text"
    assert find_files(f"{tmp_path}/{name}/*.txt") == [f"{tmp_path}/{name}/f.txt", f"{tmp_path}/{name}/g.txt"]
