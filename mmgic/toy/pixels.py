"""Sizes of the toy world's pixel decoder, and the training of its autoencoder.

The parts are the released ones' at a small size: an SD-1.5 style latent diffusion whose UNet reads what the low-
resolution feature decoder makes of an image's codes. Only the noise schedule differs: it ends in pure noise and the
UNet predicts velocities, without which so small a model misses the brightness of a picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import Tensor

CONDITION_DIM = 96


def make_vae() -> AutoencoderKL:
    """Pixels [B, 3, 64, 64] in -1..1 <-> latents [B, 4, 16, 16]."""
    return AutoencoderKL(
        block_out_channels=(16, 32, 64),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=64,
    )


def make_unet() -> UNet2DConditionModel:
    """Latents [B, 4, 16, 16] conditioned on [B, patches, CONDITION_DIM]."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 64, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3,
        cross_attention_dim=CONDITION_DIM,
        attention_head_dim=4,  # heads, in spite of the name
        norm_num_groups=16,
    )


def make_scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )


def train_vae(
    vae: AutoencoderKL,
    pictures: Tensor,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    generator: torch.Generator,
    report: Callable[[int, float], None],
) -> None:
    """Trains on `pictures` uint8 [M, 3, 64, 64] and sets the config's scaling_factor: scaled latents have deviation 1."""
    optimizer = torch.optim.AdamW(vae.parameters(), learning_rate, weight_decay=0.0)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * min(1.0, (step + 1) / 50) * (0.52 + 0.48 * math.cos(math.pi * step / steps))
        chosen = torch.randint(len(pictures), (batch_size,), generator=generator)
        pixels = to_signed(pictures[chosen])
        posterior = vae.encode(pixels).latent_dist
        rebuilt = vae.decode(posterior.sample(generator=generator)).sample
        loss = (
            F.l1_loss(rebuilt, pixels) + F.mse_loss(rebuilt, pixels) + 1e-4 * posterior.kl().mean() / pixels[0].numel()
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        report(step, F.mse_loss(rebuilt.detach(), pixels).item())
    vae.register_to_config(scaling_factor=round(1 / encode_latents(vae, pictures[:512]).std().item(), 5))


def to_signed(pictures: Tensor) -> Tensor:
    """uint8 -> float32 in -1..1, as a VAE takes it."""
    return pictures.float() / 127.5 - 1


@torch.inference_mode()
def encode_latents(vae: AutoencoderKL, pictures: Tensor, batch_size: int = 64) -> Tensor:
    """uint8 [M, 3, H, W] -> means of the posterior, float32 [M, channels, h, w], not yet scaled."""
    return torch.cat([vae.encode(to_signed(chunk)).latent_dist.mean for chunk in pictures.split(batch_size)]).clone()
