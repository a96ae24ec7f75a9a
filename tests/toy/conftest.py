from pathlib import Path

import pytest

from mmgic.toy.datasets.write import make_world

SCENES, SEED = 240, 7


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world of 240 training and 64 evaluation scenes, seed 7."""
    folder = tmp_path_factory.mktemp("toy") / "world"
    make_world(folder, SCENES, SEED)
    return folder
