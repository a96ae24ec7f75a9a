"""Where models compute: on what a process was given, whatever else it can see."""

from __future__ import annotations

from typing import Literal

from mmgic.errors import InputError

Device = Literal["cpu", "cuda"]


def device_of(gpus: float) -> Device:
    """The device of a process to which the settings give `gpus` GPUs; if it is a worker, Ray has assigned them.

    What is visible decides nothing: Ray hides no GPU from workers that asked for none, and it may be another's. Raises
    InputError if a GPU is given and PyTorch can use none.
    """
    if gpus <= 0:
        return "cpu"
    import torch  # stages that compute nothing import this module, too

    if not torch.cuda.is_available():
        raise InputError(
            "a GPU is asked for, but this process has none that PyTorch can use; run on a machine that has one, or ask "
            "for none (--device cpu; of a job cluster.tokenizer_gpus, training_gpus or evaluation_gpus=0)"
        )
    return "cuda"
