"""DeepSpeed around the model: ZeRO over float32 trained parameters, torch's AdamW, and its state without shards."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch._C._distributed_c10d import HashStore

from mmgic.settings import TrainingSettings

MOMENTS = ("exp_avg", "exp_avg_sq")
Decay = Literal["matrices", "rows", "none"]
BUCKET = 200_000_000  # elements that ZeRO reduces at once


class AdamW(torch.optim.AdamW):
    """torch's, which makes no step that it is told to leave out: parameters and moments stay as they are."""

    may_step: Callable[[], bool] = staticmethod(lambda: True)

    def step(self, closure: Any = None) -> Any:
        return super().step(closure) if self.may_step() else None


def make_engine(model: nn.Module, settings: TrainingSettings, device: torch.device) -> Any:
    """A DeepSpeedEngine over `model`, moved to `device`. The process group must exist.

    The engine averages gradients over workers and never scales for accumulation: `mmgic.training.loop` sets the
    boundaries. Rates and weight decay are set by `set_rates`.
    """
    os.environ["DS_ACCELERATOR"] = device.type
    import deepspeed

    # DeepSpeed would compile a C++ extension at start-up that only its inference code calls
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    model.to(device)
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    groups = [
        {"params": [parameter for name, parameter in trained.items() if _decay(name, parameter) == kind], "decay": kind}
        for kind in get_args(Decay)
    ]
    betas = (settings.adam_beta1, settings.adam_beta2)
    optimizer = AdamW(groups, lr=0.0, weight_decay=0.0, betas=betas, fused=True)
    bucket = min(BUCKET, sum(parameter.numel() for parameter in trained.values()))
    engine, *_ = deepspeed.initialize(
        model=model,
        optimizer=optimizer,
        config={
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 1,
            "gradient_clipping": settings.grad_clip,
            "zero_allow_untested_optimizer": True,
            "zero_optimization": {
                "stage": settings.zero_stage,
                "reduce_bucket_size": bucket,
                "allgather_bucket_size": bucket,
                "overlap_comm": True,  # buckets are reduced while the backward pass goes on
            },
        },
    )
    engine.train()
    _start_adam(engine)
    return engine


def _decay(name: str, parameter: Tensor) -> Decay:
    if name in ("embedding.rows", "embedding.codebook"):
        return "rows"  # a step touches those of its tokens alone
    return "matrices" if parameter.ndim > 1 else "none"


def set_rates(engine: Any, learning_rate: float, weight_decay: float, embedding_decay: float) -> None:
    """Of the next step. Norm weights do not decay."""
    decay = {"matrices": weight_decay, "rows": embedding_decay, "none": 0.0}
    for group in engine.optimizer.param_groups:
        group["lr"], group["weight_decay"] = learning_rate, decay[group["decay"]]


def full_moments(engine: Any, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Adam's two moments of each parameter, whole, as `<name>.exp_avg` and `<name>.exp_avg_sq`.

    A collective of all workers; only rank 0 gets tensors (on the CPU), the others an empty dict.
    """
    from deepspeed.utils import safe_get_full_optimizer_state

    moments = {}
    for name, parameter in parameters.items():
        for moment in MOMENTS:
            if engine.zero_optimization_stage():
                tensor = safe_get_full_optimizer_state(parameter, moment)
            else:
                tensor = engine.optimizer.state[parameter][moment]
            if torch.distributed.get_rank() == 0:
                moments[f"{name}.{moment}"] = tensor.cpu().clone()
    return moments


def set_moments(engine: Any, parameters: Mapping[str, nn.Parameter], moments: Mapping[str, Tensor], step: int) -> None:
    """Continues AdamW after `step` steps from what `full_moments` returned, on any number of workers."""
    from deepspeed.utils import safe_set_full_optimizer_state

    _set_step(engine, step)
    for name, parameter in parameters.items():
        for moment in MOMENTS:
            value = moments[f"{name}.{moment}"].to(parameter.device)
            if engine.zero_optimization_stage():
                safe_set_full_optimizer_state(parameter, value, moment)
            else:
                engine.optimizer.state[parameter][moment].copy_(value)


def forget_moments(engine: Any) -> None:
    """AdamW as it is before its first step. In place: ZeRO keeps what belongs to each parameter as views of these."""
    _set_step(engine, 0)
    for state in _adam(engine).state.values():
        for moment in MOMENTS:
            state[moment].zero_()


def _start_adam(engine: Any) -> None:
    """Gives AdamW the state that it would make in its first step.

    DeepSpeed ties parameters to that state once, after the first parameter group has been stepped; with two groups, the
    second would stay untied for ever. So the state has to be there before.
    """
    for group in engine.optimizer.param_groups:
        for tensor in group["params"]:
            _adam(engine).state[tensor] = {
                "step": torch.zeros((), device=tensor.device),
                **{moment: torch.zeros_like(tensor) for moment in MOMENTS},
            }
    if engine.zero_optimization_stage():
        engine.optimizer._lazy_init_hp_params_optimizer_state()


def _adam(engine: Any) -> AdamW:
    adam: AdamW = engine.optimizer.optimizer if engine.zero_optimization_stage() else engine.optimizer
    return adam


def _set_step(engine: Any, step: int) -> None:
    for state in _adam(engine).state.values():
        state["step"].fill_(step)


def apply_gradients(engine: Any, accepts: Callable[[float], bool] = lambda norm: True) -> float:
    """Clips the gradient, steps AdamW if the gradient's norm before clipping is one that `accepts` takes, and returns
    that norm, which is the same on all workers; inf or nan if the gradient is not finite."""
    adam = _adam(engine)
    if engine.zero_optimization_stage():
        adam.may_step = lambda: accepts(float(engine.optimizer._global_grad_norm))
        engine.step()  # of a gradient that is not finite DeepSpeed makes none itself
        return float(engine.get_global_grad_norm())
    gradients = [parameter.grad for parameter in engine.module.parameters() if parameter.grad is not None]
    norm = float(torch.nn.utils.get_total_norm(gradients))
    adam.may_step = lambda: accepts(norm)
    engine.step()
    return norm


@contextmanager
def single_process_group(device: torch.device) -> Iterator[None]:
    """A process group of this process alone, for training without workers; nothing is left behind."""
    import deepspeed.comm

    variables = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    torch.distributed.init_process_group(
        "nccl" if device.type == "cuda" else "gloo", store=HashStore(), rank=0, world_size=1
    )
    try:
        yield
    finally:
        if deepspeed.comm.is_initialized():
            deepspeed.comm.destroy_process_group()
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
