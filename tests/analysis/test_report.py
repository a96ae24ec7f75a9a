"""The HTML page of a run."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from mmgic.analysis.report import write_report
from mmgic.errors import InputError
from mmgic.settings import ToySettings

VOID = {"meta", "br", "image", "rect", "path", "use", "link", "img"}


class Page(HTMLParser):
    """Checks that tags close in order and collects addresses, scripts and text."""

    def __init__(self, path):
        super().__init__()
        self.open, self.links, self.scripts, self.texts = [], [], 0, []
        self.feed(path.read_text(encoding="utf-8"))
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.scripts += tag == "script"
        self.links += [value for name, value in attributes if name in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_page_stands_alone_and_escapes_what_it_shows(run_folder):
    page = Page(write_report(*run_folder))
    assert page.scripts == 0
    assert all(link.startswith(("data:image/", "#")) for link in page.links)
    text = " ".join("".join(page.texts).split())
    assert "Toy numbers" in text
    assert "trained says <script>alert('label')</script>" in text
    assert "dog, <script>alert('label')</script> Center, 2 tokens" in text
    assert "image_missing 1" in text
    assert "attribute_rare 3" in text
    assert "85.2" in text
    assert "a teal dog" in text
    assert "Is there a dog?" in text
    assert "a second question" not in text.lower()  # examples are of an image each
    assert "Yes 66.7" in text
    assert "Table 13: detection sources" in text


def test_regions_are_drawn_where_they_are(run_folder):
    """A square of half the frame's edge on an image of 90 x 60 pixels: 45 x 30 at (22.5, 30)."""
    html = write_report(*run_folder).read_text()
    assert re.search(r'<rect x="22.5" y="30.0" width="45.0" height="30.0"', html)


def test_real_runs_are_not_called_toys(run_folder):
    folder, settings = run_folder
    assert "Toy numbers" not in write_report(folder, replace(settings, toy=ToySettings())).read_text()


def test_same_run_same_page(run_folder):
    first = write_report(*run_folder).read_text()
    assert write_report(*run_folder).read_text() == first


def test_a_page_of_training_alone(run_folder, tmp_path_factory):
    folder, settings = run_folder
    other = tmp_path_factory.mktemp("other")
    (folder / "training").rename(other / "training")
    page = Page(write_report(other, settings))
    assert "Filled documents" not in "".join(page.texts)


def test_an_empty_folder_is_no_run(run_folder, tmp_path_factory):
    with pytest.raises(InputError, match="to report on"):
        write_report(tmp_path_factory.mktemp("empty"), run_folder[1])
