"""One local Ray cluster for all tests of a process that need one."""

from collections.abc import Iterator

import pytest
import ray


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[str]:
    """The cluster's address, for drivers of their own."""
    context = ray.init(address="local", num_cpus=6, include_dashboard=False, log_to_driver=False)
    yield context.address_info["gcs_address"]
    ray.shutdown()
