"""Every reader on damaged files; `fuzzing.py` beside it tries as many as are asked for."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

_spec = importlib.util.spec_from_file_location("fuzzing", Path(__file__).with_name("fuzzing.py"))
assert _spec
assert _spec.loader
fuzzing = sys.modules["fuzzing"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fuzzing)

INPUTS = 15  # for each of the sources
NAMES = [source.name for source in fuzzing.SOURCES]


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    return list(fuzzing.make_datasets(tmp_path_factory.mktemp("fuzz")))


@pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)
@settings(max_examples=INPUTS, deadline=None, suppress_health_check=list(HealthCheck))
@given(rng=st.randoms(use_true_random=False))
def test_rows_or_one_sentence(number: int, datasets: list[Any], rng: random.Random) -> None:
    assert fuzzing.try_damaged(datasets[number], rng) in ("rows", "sentence")
