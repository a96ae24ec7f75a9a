"""One local Ray cluster for all tests of a process that need one."""

import os
import runpy
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
import ray
from ray._private import ray_constants

FORKED_WORKERS = Path(__file__).with_name("forked_workers.py")
fork_server = runpy.run_path(str(FORKED_WORKERS))["fork_server"]


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The cluster's address, for drivers of their own."""
    kept = os.environ.pop("RAY_ADDRESS")  # for drivers of their own; this cluster's processes have to find this one
    with (
        fork_server(tmp_path_factory.mktemp("forks")),
        mock.patch.object(ray_constants, "SETUP_WORKER_FILENAME", str(FORKED_WORKERS)),
    ):
        context = ray.init(address="local", num_cpus=6, include_dashboard=False, log_to_driver=False)
        os.environ["RAY_ADDRESS"] = kept
        yield context.address_info["gcs_address"]
        ray.shutdown()
