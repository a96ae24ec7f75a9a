"""Which cluster a job meets: the one that is named, one that runs here, or its own."""

import socket

import pytest

from mmgic.errors import InputError
from mmgic.stages import session


@pytest.fixture
def gone() -> str:
    """An address at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def test_nothing_runs_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS")
    monkeypatch.setattr(session, "find_bootstrap_address", lambda folder: None)
    assert not session.join_cluster()


def test_one_that_is_gone_is_told_of_and_not_waited_for(
    gone: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RAY_ADDRESS")
    monkeypatch.setattr(session, "find_bootstrap_address", lambda folder: gone)
    assert not session.join_cluster()
    why = "cannot be joined (nothing answers there any more); this job starts one of its own"
    assert capsys.readouterr().out == f"the Ray cluster at {gone} {why}\n"


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_cluster_that_is_named_and_gone_ends_the_job(scheme: str, gone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", scheme + gone)
    with pytest.raises(InputError, match=f"RAY_ADDRESS names, {scheme}{gone}, cannot be joined.*unset RAY_ADDRESS"):
        session.join_cluster()


def test_local_is_a_cluster_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "local")
    monkeypatch.setattr(session, "find_bootstrap_address", lambda folder: pytest.fail("looked for another"))
    assert not session.join_cluster()
