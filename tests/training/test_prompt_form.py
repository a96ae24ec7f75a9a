"""The template that a trained model is asked in is one that it has seen."""

from dataclasses import replace

import pytest

from mmgic.presets import preset
from mmgic.settings import to_yaml
from mmgic.training.prompt_form import form_of_prompts

ALL = preset("data-7b")  # sources of all corpora


def trained_on(curriculum, start=""):
    return replace(ALL, training=replace(ALL.training, curriculum=curriculum, start=str(start)))


@pytest.mark.parametrize(
    ("curriculum", "form"),
    [
        ("ic", "ic"),
        ("mmc4", "mmc4"),
        ("mmc4_pairs", "ic"),
        ("mmgic", "mmgic"),
        ("mmgic -> ic", "mmgic"),
        ("mmgic+ic -> mmgic", "mmgic"),
        ("sft+aesthetic", "sft"),
        ("mmgic -> playback", "sft"),
    ],
)
def test_the_form_is_that_of_what_was_seen(curriculum, form):
    assert form_of_prompts(trained_on(curriculum)) == form


def test_what_the_start_has_seen_counts(tmp_path):
    for name, curriculum, start in (("first", "mmgic", ""), ("second", "ic", tmp_path / "first")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "settings.yaml").write_text(to_yaml(trained_on(curriculum, start)))
    assert form_of_prompts(trained_on("ic", tmp_path / "second")) == "mmgic"
    assert form_of_prompts(trained_on("sft", tmp_path / "second")) == "sft"
