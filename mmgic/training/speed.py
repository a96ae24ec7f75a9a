"""How fast training is, against what its device can do."""

from __future__ import annotations

import functools
import resource
import statistics
import time
from collections import deque
from dataclasses import dataclass

import torch
from torch import nn

WINDOW = 100  # steps whose times are looked back at


@dataclass(frozen=True)
class Speed:
    """Of one step, on this worker, unless it says otherwise."""

    seconds: float
    tokens_per_second: float  # of all workers
    tokens_per_second_per_worker: float
    # model FLOP utilization: the share of the device's measured matmul peak that these FLOP take, of N weights that
    # each token is multiplied by: 4 N a token if weights are frozen (forward and the gradient of activations), 6 N as
    # if all were trained
    mfu_4n: float
    mfu_6n: float
    padding: float  # share of the micro batches' room for tokens that held none
    median_seconds: float  # of the last WINDOW steps
    longest_seconds: float
    peak_memory: int  # bytes since the start: of the GPU, or of the process


class SpeedMeter:
    """Makes the `Speed` of one step after the other. The peak is measured when it is made."""

    def __init__(self, model: nn.Module, dtype: torch.dtype, device: torch.device, room: int, workers: int) -> None:
        """`room` is for tokens of one micro batch."""
        self._weights, self._device, self._room, self._workers = matrix_weights(model), device, room, workers
        self.peak = matmul_peak(device.type, dtype)
        self._seconds: deque[float] = deque(maxlen=WINDOW)

    def __call__(self, tokens: int, micro_batches: int, seconds: float) -> Speed:
        """`tokens` are of the global batch, `micro_batches` of each worker."""
        self._seconds.append(seconds)
        each = tokens / seconds / self._workers
        share = each * self._weights / self.peak
        return Speed(
            seconds=seconds,
            tokens_per_second=round(tokens / seconds, 1),
            tokens_per_second_per_worker=round(each, 1),
            mfu_4n=4 * share,
            mfu_6n=6 * share,
            padding=1 - tokens / (micro_batches * self._workers * self._room),
            median_seconds=statistics.median(self._seconds),
            longest_seconds=max(self._seconds),
            peak_memory=_peak_memory(self._device),
        )


def matrix_weights(model: nn.Module) -> int:
    """Weights of the decoder's matrices and of the head. Not counted: tables that are looked up in, LoRA, norms."""
    return sum(
        parameter.numel()
        for name, parameter in model.named_parameters()
        if parameter.ndim == 2 and "lora_" not in name and not name.startswith("embedding.")
    )


@functools.cache
def matmul_peak(device: str, dtype: torch.dtype) -> float:
    """FLOP/s of a product of square matrices in `dtype` on this process's device, the best of some tries."""
    size, tries = (8192, 20) if device == "cuda" else (512, 5)
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(tries + 2):  # the first ones find a kernel
        began = time.perf_counter()
        a @ b
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # kB on Linux
