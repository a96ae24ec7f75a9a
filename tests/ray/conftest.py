"""One local Ray cluster for all tests of a process that need one."""

import os
from collections.abc import Iterator

import pytest
import ray


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[str]:
    """The cluster's address, for drivers of their own."""
    kept = os.environ.pop("RAY_ADDRESS")  # for drivers of their own; this cluster's processes have to find this one
    context = ray.init(address="local", num_cpus=6, include_dashboard=False, log_to_driver=False)
    os.environ["RAY_ADDRESS"] = kept
    yield context.address_info["gcs_address"]
    ray.shutdown()
