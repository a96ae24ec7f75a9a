"""Images whose names an annotation file writes in another way than the disk does."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgic.settings import SourceSettings
from mmgic.sources.reading.files import ImageFinder
from mmgic.sources.reading.near_names import NearNames, inner_parts

NFD = unicodedata.normalize("NFD", "Caf\u00e9")


@pytest.fixture
def finder(tmp_path: Path) -> ImageFinder:
    for name in (
        f"{NFD}/\u00fc 1.jpg",
        "Train2017/IMG_7.JPG",
        "a%20b.png",
        "twice.jpg",
        "Twice.jpg",
        "back\\slash.jpg",
    ):
        path = tmp_path / "set" / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "secret.jpg").write_bytes(b"")
    return ImageFinder(SourceSettings(name="s", path=str(tmp_path / "set")))


@pytest.mark.parametrize(
    ("written", "on_disk"),
    [
        ("Caf\u00e9/\u00fc 1.jpg", f"{NFD}/\u00fc 1.jpg"),  # another Unicode form
        (f"{NFD}/u\u0308 1.jpg", f"{NFD}/\u00fc 1.jpg"),
        ("caf%C3%A9/%C3%BC%201.jpg", f"{NFD}/\u00fc 1.jpg"),  # percent-encoded
        ("a b.png", "a%20b.png"),
        ("train2017/img_7.jpg", "Train2017/IMG_7.JPG"),  # other letter cases
        ("TRAIN2017\\IMG_7.jpg", "Train2017/IMG_7.JPG"),  # backslashes
        ("C:\\Users\\me\\data\\Train2017\\IMG_7.JPG", "Train2017/IMG_7.JPG"),  # paths of other machines
        ("/home/me/data/images/Train2017/IMG_7.JPG", "Train2017/IMG_7.JPG"),
        ("file:///home/me/Train2017/img_7.jpg", "Train2017/IMG_7.JPG"),
        ("\\\\server\\share\\Train2017\\IMG_7.JPG", "Train2017/IMG_7.JPG"),
        ("./Train2017//IMG_7.JPG", "Train2017/IMG_7.JPG"),
        ("Twice.jpg", "Twice.jpg"),
    ],
)
def test_an_image_is_found_however_its_name_is_written(
    finder: ImageFinder, tmp_path: Path, written: str, on_disk: str
) -> None:
    found = finder.path(written)
    assert Path(found).is_file()
    assert Path(found).samefile(tmp_path / "set" / "images" / on_disk)


@pytest.mark.parametrize(
    "name",
    [
        "../../secret.jpg",
        "..\\..\\secret.jpg",
        "a\0b",
        "s3://bucket/IMG_7.JPG",
        "a::b",
        "",
        7,
    ],
)
def test_a_name_never_leads_out_of_the_folder(finder: ImageFinder, name: object) -> None:
    assert finder.path(name) == ""
    assert inner_parts("%2e%2e/%2E%2e/secret.jpg") == []


def test_of_two_files_equally_near_neither_is_taken(finder: ImageFinder, tmp_path: Path) -> None:
    assert finder.path("TWICE.jpg") == str(tmp_path / "set" / "images" / "TWICE.jpg")  # which is not there


def test_a_name_that_is_nowhere_gets_the_path_below_the_first_folder(finder: ImageFinder, tmp_path: Path) -> None:
    assert finder.path("new/1.jpg") == str(tmp_path / "set" / "images" / "new" / "1.jpg")
    assert finder.path("/root/new/1.jpg") == ""


@given(st.text())
def test_parts_stay_inside(name: str) -> None:
    for part in inner_parts(name):
        assert part not in ("", ".", "..")
        assert "/" not in part
        assert "\0" not in part


def test_an_object_store_is_searched_alike() -> None:
    filesystem = fsspec.filesystem("memory")
    filesystem.pipe_file("/near/Images/A.JPG", b"")
    assert NearNames(filesystem).find("x\\images\\a.jpg", ["/near"]) == "/near/Images/A.JPG"
    filesystem.rm("/near", recursive=True)
