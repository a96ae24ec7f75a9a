"""Files that are whole or not there, whoever writes them."""

from pathlib import Path

import fsspec
import pytest

from mmgic.errors import InputError
from mmgic.files import read_text, remove, whole_file, write_text
from mmgic.stages.lifecycle import claim


@pytest.mark.parametrize("root", ["local", "memory://whole"])
def test_two_writers_of_one_file_do_not_mix(root: str, tmp_path: Path) -> None:
    folder = str(tmp_path) if root == "local" else root
    with whole_file(f"{folder}/a.tar") as late:
        late.write(b"la")
        with whole_file(f"{folder}/a.tar") as early:
            early.write(b"early")
        assert read_text(f"{folder}/a.tar") == "early"
        late.write(b"te")
    assert read_text(f"{folder}/a.tar") == "late"
    filesystem, path = fsspec.url_to_fs(folder)
    assert [name.split("/")[-1] for name in filesystem.ls(path, detail=False)] == ["a.tar"]


@pytest.mark.parametrize("root", ["local", "memory://failed"])
def test_a_writer_that_fails_leaves_what_was_there(root: str, tmp_path: Path) -> None:
    folder = str(tmp_path) if root == "local" else root
    write_text(f"{folder}/a.tar", "before")

    def fail() -> None:
        with whole_file(f"{folder}/a.tar") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert read_text(f"{folder}/a.tar") == "before"
    filesystem, path = fsspec.url_to_fs(folder)
    assert [name.split("/")[-1] for name in filesystem.ls(path, detail=False)] == ["a.tar"]


def test_a_table_that_is_not_repeatable_is_another_one_when_it_is_made_again(tmp_path: Path) -> None:
    folder = str(tmp_path / "images")
    first = claim(folder, "ic/images", {"max_bytes": 1}, "x", repeatable=False)
    assert claim(folder, "ic/images", {"max_bytes": 1}, "x", repeatable=False) == first  # a resume
    with pytest.raises(InputError, match="max_bytes = 1, now 2"):
        claim(folder, "ic/images", {"max_bytes": 2}, "x", repeatable=False)
    remove(folder)
    assert claim(folder, "ic/images", {"max_bytes": 1}, "x", repeatable=False) != first
    again = [claim(str(tmp_path / name), "ic/tokens", {}, "x") for name in ("one", "two")]
    assert again[0] == again[1]


@pytest.mark.parametrize("root", ["local", "memory://corrected"])
def test_a_corrected_setting_asks_for_all_deletions_at_once(root: str, tmp_path: Path) -> None:
    folder = str(tmp_path) if root == "local" else root

    def build(path: str) -> None:
        made = claim(f"{folder}/mmgic/annotations", "mmgic/annotations", {"sources": [{"path": path}]}, "")
        cleaned = claim(f"{folder}/mmgic/cleaned", "mmgic/cleaned", {}, made)
        claim(f"{folder}/mmgic/documents/CL", "mmgic/documents/CL", {}, cleaned)
        claim(f"{folder}/sft/playback", "sft/playback", {"plays": [cleaned]}, "another")
        claim(f"{folder}/ic/annotations", "ic/annotations", {}, "")

    build("/data/wrong")
    write_text(f"{folder}/settings.yaml", "output: here\n")  # a run's own
    with pytest.raises(InputError) as error:
        build("/data/right")
    below = [f"{folder}/{name}" for name in ("mmgic/cleaned", "mmgic/documents/CL", "sft/playback")]
    assert f"delete {' and '.join([f'{folder}/mmgic/annotations', *below])} to build again" in str(error.value)
    for made in (f"{folder}/mmgic/annotations", *below):
        remove(made)
    build("/data/right")
