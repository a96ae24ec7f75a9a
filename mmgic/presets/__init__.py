"""Named settings as plain functions: the toy runs and the paper's."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from mmgic.presets.paper import data_7b, mmgic_7b, mmgic_7b_40g, mmgic_ic_7b
from mmgic.presets.runs import paper_runs
from mmgic.presets.toy import TOY_WEIGHTS, TOY_WEIGHTS_SAY, is_toy, toy, toy_all, toy_sft, toy_test
from mmgic.settings import Settings, SettingsError

__all__ = ["PRESETS", "TOY_WEIGHTS", "TOY_WEIGHTS_SAY", "is_toy", "preset"]

PRESETS: dict[str, Callable[[], Settings]] = {
    "toy": toy,
    "toy-test": toy_test,
    "toy-all": toy_all,
    "toy-sft": toy_sft,
    "mmgic-7b": mmgic_7b,
    "mmgic-7b-40g": mmgic_7b_40g,
    "mmgic-ic-7b": mmgic_ic_7b,
    "data-7b": data_7b,
    **paper_runs(),
}


def preset(name: str) -> Settings:
    """The settings called `name`. Raises SettingsError that names the nearest preset."""
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.0)[0]
        raise SettingsError(f"unknown preset '{name}'; did you mean '{near}'? (all: {', '.join(PRESETS)})")
    return PRESETS[name]()
