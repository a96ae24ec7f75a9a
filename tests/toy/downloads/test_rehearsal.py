"""rehearsal.yaml changes sizes and numbers of workers, and nothing else."""

from __future__ import annotations

from pathlib import Path

import yaml

from mmgic.presets import preset
from mmgic.settings import load_settings
from mmgic.toy.downloads.rehearsal import FILE, rehearsal_yaml

GROUPS = {"cluster", "captions", "phrases", "instructions", "training", "evaluation"}


def test_it_holds_no_path_and_no_setting_of_a_model_or_a_format(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(rehearsal_yaml())
    sizes = yaml.safe_load(rehearsal_yaml())
    assert sizes.keys() <= GROUPS
    values = [value for group in sizes.values() for value in group.values()]
    assert all(type(value) in (int, float) for value in values)
    for name in ("mmgic-7b", "mmgic-ic-7b", "data-7b"):
        before, after = preset(name), load_settings(preset(name), tmp_path / FILE)
        assert (after.sources, after.vision, after.model) == (before.sources, before.vision, before.model)
