"""Fixtures that several test folders use."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real samples and reference values beside a contributor's checkout; tests that need it skip without."""
    folder = Path(__file__).resolve().parents[1].parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the reference folder beside the checkout")
    return folder
