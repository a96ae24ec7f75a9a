"""Training a pixel decoder: a diffusion UNet learns to draw an image from what the feature decoder makes of its codes.

LaVIT's objective is the usual noise prediction, conditioned on the codes of the same image. A share of the images is
drawn without condition, which guidance needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn

from mmgic.errors import InputError
from mmgic.settings import PixelTraining
from mmgic.vision.folders import read_weights
from mmgic.vision.network.feature_decoder import HighresDecoder, LowresDecoder
from mmgic.vision.pixels.pixel_decoder import time_ids, unconditional


class Denoiser(nn.Module):
    """What is trained together: feature decoder, UNet and, low resolution only, the unconditional embeddings."""

    def __init__(
        self,
        decoder: LowresDecoder | HighresDecoder,
        unet: UNet2DConditionModel,
        codebook: Tensor,
        uncond: Tensor | None,
        scale: int,
    ) -> None:
        """`codebook` [codes, dim] stays as it is; `uncond` [1, U, D] starts the unconditional embeddings, None for the
        high-resolution decoder; `scale` is the number of pixels along the edge of one latent."""
        super().__init__()
        self.codebook: Tensor
        self.decoder = decoder
        self.unet = unet
        self.register_buffer("codebook", codebook.clone())
        self.uncond = None if uncond is None else nn.Parameter(uncond.clone())
        self.scale = scale

    def forward(self, noisy: Tensor, steps: Tensor, codes: Sequence[Tensor], dropped: Tensor) -> Tensor:
        """The UNet's answer [B, C, h, w] to `noisy` latents at `steps` int64 [B], without condition where `dropped`
        bool [B] is true; `codes` int64 [T] of each image."""
        conditions = self.decoder(self.codebook[torch.cat(list(codes))], [len(c) for c in codes])
        prompt, pooled = conditions.prompt, conditions.pooled
        inputs: dict[str, Any] = {}
        if self.uncond is not None:
            empty, empty_mask = unconditional(self.uncond, prompt)
            inputs["encoder_attention_mask"] = torch.where(dropped[:, None], empty_mask, True)
        else:
            empty = torch.zeros_like(prompt)
            inputs["added_cond_kwargs"] = {
                "text_embeds": torch.where(dropped[:, None], 0, pooled),
                "time_ids": time_ids(noisy, self.scale).to(noisy.device),
            }
        prompt = torch.where(dropped[:, None, None], empty, prompt)
        return self.unet(noisy, steps, encoder_hidden_states=prompt, **inputs).sample


TRUNK_FILE = "decoder.safetensors"  # of a tokenizer's folder: the feature decoder that it was trained with


def load_trunk(decoder: LowresDecoder | HighresDecoder, tokenizer: Path) -> bool:
    """Copies in the feature decoder that a tokenizer was trained with, from its folder; projections to the UNet stay as
    they are. Returns whether there is one. Raises InputError if it is of other sizes."""
    path = tokenizer / TRUNK_FILE
    if not path.is_file():
        return False
    weights, own = read_weights(path), decoder.state_dict()
    trunk = {key: tuple(value.shape) for key, value in own.items() if not key.startswith("unet_")}
    if {key: tuple(value.shape) for key, value in weights.items()} != trunk:
        raise InputError(f"{path} is of other sizes than the pixel decoder; name one of its sizes, or remove it")
    decoder.load_state_dict({**own, **weights})
    return True


def freeze_trunk(decoder: LowresDecoder | HighresDecoder) -> None:
    """Leaves the feature decoder as the tokenizer's training made it; only what projects to the UNet learns."""
    for name, parameter in decoder.named_parameters():
        parameter.requires_grad_(name.startswith("unet_"))


@torch.no_grad()
def start_projection(projection: nn.Linear, features: Tensor, least: float = 0.1) -> None:
    """Starts a new projection to a UNet from the principal axes of some `features` [T, feature_dim]: its outputs are
    centred and spread about 1, as a UNet's cross-attention takes them, but axes spread less than `least` stay small."""
    mean = features.mean(dim=0)
    _, spread, axes = torch.linalg.svd(features - mean, full_matrices=False)
    spread = spread / len(features) ** 0.5
    count = min(projection.out_features, len(axes))
    projection.weight.zero_()
    projection.weight[:count] = axes[:count] / (spread[:count, None].square() + least**2).sqrt()
    projection.bias.copy_(-projection.weight @ mean)


def denoising_loss(
    model: nn.Module,
    scheduler: DDIMScheduler,
    latents: Tensor,
    codes: Sequence[Tensor],
    unconditional_share: float,
    generator: torch.Generator,
) -> Tensor:
    """`loss_of_draws` for draws from one generator."""
    draws = draw(latents.shape, scheduler.config.num_train_timesteps, unconditional_share, generator)
    return loss_of_draws(model, scheduler, latents, codes, draws)


Draws = tuple[Tensor, Tensor, Tensor]  # noise [B, C, h, w], diffusion steps int64 [B], dropped conditions bool [B]


def draw(shape: Sequence[int], steps: int, unconditional_share: float, generator: torch.Generator) -> Draws:
    noise = torch.randn(tuple(shape), generator=generator)
    at = torch.randint(steps, (shape[0],), generator=generator)
    return noise, at, torch.rand(shape[0], generator=generator) < unconditional_share


def loss_of_draws(
    model: nn.Module, scheduler: DDIMScheduler, latents: Tensor, codes: Sequence[Tensor], draws: Draws
) -> Tensor:
    """Mean squared error of what the scheduler's prediction_type asks for; `latents` [B, C, h, w] are scaled."""
    noise, steps, dropped = (tensor.to(latents.device) for tensor in draws)
    noise = noise.to(latents.dtype)
    noisy = scheduler.add_noise(latents, noise, steps)
    if scheduler.config.prediction_type == "v_prediction":
        target = scheduler.get_velocity(latents, noise, steps)
    else:
        target = noise
    return F.mse_loss(model(noisy, steps, codes, dropped).float(), target)


def train_denoiser(
    model: nn.Module,
    scheduler: DDIMScheduler,
    latents: Tensor,
    codes: Sequence[Tensor],
    settings: PixelTraining,
    generator: torch.Generator,
    report: Callable[[int, float], None],
    report_every: int = 50,
) -> None:
    """Trains on scaled `latents` [M, C, h, w] and the `codes` int64 [T] of the same M images; AdamW with warm-up and
    cosine. `report(step, mean loss since the last report)` is called every `report_every` steps."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, settings.learning_rate, weight_decay=settings.weight_decay)

    def factor(step: int) -> float:
        return min(1.0, (step + 1) / settings.warmup_steps) * (0.51 + 0.49 * math.cos(math.pi * step / settings.steps))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    total = 0.0
    for step in range(settings.steps):
        chosen = torch.randint(len(latents), (settings.batch_size,), generator=generator)
        loss = denoising_loss(
            model,
            scheduler,
            latents[chosen],
            [codes[i] for i in chosen.tolist()],
            settings.unconditional_share,
            generator,
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        total += loss.item()
        if (step + 1) % report_every == 0:
            report(step + 1, total / report_every)
            total = 0.0
