"""The settings under which a paper preset runs on the stand-ins: how many there are of everything, and no GPU."""

from __future__ import annotations

from typing import Any

import yaml

# Sizes and numbers of workers alone: what is read, from where, and how it is computed stays the preset's.
SIZES: dict[str, dict[str, Any]] = {
    "cluster": {
        "data_workers": 2,
        "tokenizer_workers": 1,
        "tokenizer_gpus": 0,
        "training_workers": 1,
        "training_gpus": 0,
        "rows_per_block": 100,
    },
    "captions": {"candidates": 3, "rounds": 3},
    "phrases": {"min_count": 2, "captions_per_phrase": 8},
    "instructions": {"playback": 20, "aesthetic": 4},
    "training": {"batch_size": 8, "max_steps": 2, "rows_per_micro_batch": 1},
    "evaluation": {"max_new_tokens": 16},
}
FILE = "rehearsal.yaml"
_HEADER = """\
# Sizes and numbers of workers for a rehearsal of a paper preset on stand-ins of the downloads, on one machine without a
# GPU. Everything else is the preset's. In this folder:
"""


def rehearsal_yaml(commands: list[str]) -> str:
    """rehearsal.yaml, with the `commands` that use it."""
    lines = "".join(f"#   {command}\n" for command in commands)
    return f"{_HEADER}{lines}{yaml.safe_dump(SIZES, sort_keys=False)}"
