"""The registry of formats: every row can be used, and the settings refuse what has no row."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from pkgutil import resolve_name

import pytest

from mmgic.schema import CAPTIONED_IMAGE, CORPORA, SCHEMAS
from mmgic.settings import Settings, SettingsError, SourceSettings, load_settings
from mmgic.sources.formats import FORMATS, label_descriptions


@pytest.mark.parametrize("name", FORMATS)
def test_every_reader_is_there(name: str) -> None:
    form = FORMATS[name]
    for function in filter(None, (form.reader, form.descriptions)):
        found = resolve_name(f"mmgic.sources.{function}")
        signature = inspect.signature(found)
        assert list(signature.parameters) == ["source"]
        assert signature.return_annotation.startswith("Iterator[")


@pytest.mark.parametrize("name", FORMATS)
def test_every_row_fits_its_corpus(name: str) -> None:
    form = FORMATS[name]
    assert form.corpus in CORPORA
    assert form.filtered_caption in ("", *(CAPTIONED_IMAGE.names if form.corpus == "ic" else ()))
    assert not (form.played_back and form.corpus != "ic")
    assert not (form.copied and form.corpus != "sft")
    assert not ((form.noisy_labels or form.descriptions) and form.corpus != "mmgic")
    assert form.terms


def test_what_the_paper_says_of_single_formats() -> None:
    captions = {name: form.filtered_caption for name, form in FORMATS.items() if form.filtered_caption}
    assert captions == {"blip_captions": "caption_coco", "capsfusion": "caption_capsfusion"}  # G.2
    assert [name for name, form in FORMATS.items() if form.noisy_labels] == ["visual_genome"]  # F.2, F.5
    assert [name for name, form in FORMATS.items() if form.descriptions] == ["v3det"]  # F.5
    assert [name for name, form in FORMATS.items() if form.played_back] == ["laion_coco_aesthetic"]  # H.1
    assert set(SCHEMAS) == set(CORPORA) == {form.corpus for form in FORMATS.values()}


def test_most_labels_bring_no_description(tmp_path: Path) -> None:
    assert list(label_descriptions(SourceSettings(name="s", format="coco", path=str(tmp_path)))) == []


def test_an_unknown_format_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    config = tmp_path / "sources.yaml"
    config.write_text("sources: [{name: s, format: visual_genomes}]")
    with pytest.raises(
        SettingsError, match=r"'sources\[0\].format' is 'visual_genomes'; .* \(nearest: visual_genome\)"
    ):
        load_settings(Settings(), config)
    config.write_text("sources: [{name: s, format: visual_genome}]")
    assert load_settings(Settings(), config).sources[0].format == "visual_genome"


def test_settings_import_no_reader() -> None:
    code = (
        "import sys, mmgic.settings; "
        "print([m for m in sys.modules if m.startswith('mmgic.sources.') or m in ('pyarrow', 'numpy', 'fsspec')])"
    )
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert imported.strip() == "['mmgic.sources.formats']"
