from collections.abc import Callable
from pathlib import Path

import pytest

from mmgic.toy.datasets.image_captions import write_image_captions, write_mmc4
from mmgic.toy.datasets.instructions import write_instructions
from mmgic.toy.datasets.open_images import write_open_images
from mmgic.toy.datasets.samples import World
from mmgic.toy.datasets.tables import write_first_sources


@pytest.fixture(scope="session")
def make_world(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Writes a few records of each dataset, in folders of their own of a new folder."""

    def write() -> Path:
        root = tmp_path_factory.mktemp("world")
        world = World(0)
        write_first_sources(root, world, range(8))
        write_open_images(root, world, range(1_000_000, 1_000_008))
        write_image_captions(root, world, range(3_000_000, 3_000_016))
        write_mmc4(root, world, range(4_000_000, 4_000_012))
        write_instructions(root, world, range(5_000_000, 5_000_012))
        return root

    return write


@pytest.fixture(scope="session")
def world(make_world: Callable[[], Path]) -> Path:
    """The folder of one such world; leave it as it is."""
    return make_world()
