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

INPUTS = 15  # for each of them
OTHERS = 9


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    found = list(fuzzing.make_targets(tmp_path_factory.mktemp("fuzz")))
    assert len(found) == len(fuzzing.SOURCES) + OTHERS
    return found


@pytest.mark.parametrize("number", range(len(fuzzing.SOURCES) + OTHERS))
@settings(max_examples=INPUTS, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(rng=st.randoms(use_true_random=False))
def test_rows_or_one_sentence(number: int, targets: list[Any], rng: random.Random) -> None:
    assert fuzzing.try_damaged(targets[number], rng) in ("rows", "sentence")
