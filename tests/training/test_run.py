"""What ends a run, and what it goes on after."""

from __future__ import annotations

import pytest
import torch
from ray.exceptions import ActorDiedError
from ray.train import ControllerError, PreemptionInfo, WorkerGroupError
from ray.train.v2._internal.exceptions import UserExceptionWithTraceback, WorkerHealthCheckFailedError
from ray.train.v2.api.exceptions import PreemptionError

from mmgic.training.run import a_worker_was_lost


def raised(error: Exception) -> Exception:
    return UserExceptionWithTraceback(error, "")


@pytest.mark.parametrize(
    ("failures", "lost"),
    [
        ([WorkerHealthCheckFailedError("", ActorDiedError())], True),
        ([WorkerHealthCheckFailedError("", ActorDiedError()), raised(ZeroDivisionError())], True),
        ([raised(RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1"))], True),
        ([raised(torch.distributed.DistBackendError("NCCL error"))], True),
        ([raised(torch.AcceleratorError("CUDA error: an illegal memory access was encountered", 700))], True),
        ([raised(torch.OutOfMemoryError("CUDA out of memory"))], False),
        ([raised(RuntimeError("shape '[2]' is invalid for input of size 3"))], False),
        ([raised(ZeroDivisionError())], False),
    ],
)
def test_only_what_a_run_does_not_compute_itself_is_tried_again(failures: list[Exception], lost: bool) -> None:
    assert a_worker_was_lost(WorkerGroupError("", dict(enumerate(failures)))) is lost


def test_a_node_that_goes_is_no_fault() -> None:
    assert a_worker_was_lost(PreemptionError(PreemptionInfo(None, {"node": [0]})))
    assert not a_worker_was_lost(ControllerError(ValueError("of ours")))
