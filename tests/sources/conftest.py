import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Any], Path]:
    """Writes a value as JSON to a file of the dataset folder, which is tmp_path and has an empty images/."""
    (tmp_path / "images").mkdir()

    def write_json(name: str, value: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value), encoding="utf-8")
        return path

    return write_json


@pytest.fixture
def dropped() -> Callable[[list[dict[str, Any]]], Counter[str]]:
    """The drops of rows added up."""
    return lambda rows: sum((Counter({d["reason"]: d["count"]}) for row in rows for d in row["drops"]), Counter())
