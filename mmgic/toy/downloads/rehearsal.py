"""The settings under which a paper preset runs on the stand-ins: how many there are of everything, and no GPU."""

from __future__ import annotations

from typing import Any

import yaml

# Sizes and numbers of workers alone: what is read, from where, and how it is computed stays the preset's.
SIZES: dict[str, dict[str, Any]] = {
    "cluster": {
        "data_workers": 1,
        "tokenizer_workers": 1,
        "tokenizer_gpus": 0,
        "language_model_workers": 1,
        "training_workers": 1,
        "training_gpus": 0,
        "evaluation_gpus": 0,
        "rows_per_block": 100,
    },
    "captions": {"candidates": 3, "rounds": 3},
    "phrases": {"min_count": 4, "captions_per_phrase": 2},
    "instructions": {"playback": 20, "aesthetic": 4},
    "training": {"batch_size": 8, "epochs": 0.14, "micro_batch_tokens": 2048},
    "evaluation": {"max_new_tokens": 16},
}
FILE = "rehearsal.yaml"
_HEADER = """\
# Sizes and numbers of workers for a rehearsal of the paper's presets on stand-ins of the downloads, on one machine
# without a GPU. Everything else is the preset's. Its paths are relative: use it in this folder.
"""


def rehearsal_yaml() -> str:
    return f"{_HEADER}{yaml.safe_dump(SIZES, sort_keys=False)}"
