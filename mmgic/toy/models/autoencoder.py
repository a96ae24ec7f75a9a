"""The autoencoder of the toy world's pixel decoder, and its training."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

Report = Callable[[int, float], None]  # called after each step, the first being 1, with its figure

BATCH = 8  # pictures per step
NOISE = 0.02  # on latents while the autoencoder's decoder is tuned


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


def train_vae(vae: AutoencoderKL, pictures: Tensor, steps: int, generator: torch.Generator, report: Report) -> None:
    """Trains on `pictures` uint8 [M, 3, 64, 64] and sets the scaling_factor that gives latents deviation 1."""
    step = Stepper(list(vae.parameters()), steps)
    for index in range(steps):
        pixels = draw(pictures, generator)
        posterior = vae.encode(pixels).latent_dist
        rebuilt = vae.decode(posterior.sample(generator=generator)).sample
        step(rebuild_loss(rebuilt, pixels) + 1e-4 * posterior.kl().mean() / pixels[0].numel())
        report(index + 1, psnr(rebuilt, pixels))
    vae.register_to_config(scaling_factor=round(1 / encode_latents(vae, pictures[:512]).std().item(), 5))


def tune_vae_decoder(
    vae: AutoencoderKL, pictures: Tensor, latents: Tensor, steps: int, generator: torch.Generator, report: Report
) -> None:
    """Goes on with the decoder alone, which costs less: `latents` [M, 4, 16, 16] of the `pictures` stay as they are."""
    step = Stepper([*vae.decoder.parameters(), *vae.post_quant_conv.parameters()], steps)
    for index in range(steps):
        chosen = torch.randint(len(pictures), (BATCH,), generator=generator)
        pixels = to_signed(pictures[chosen])
        noise = torch.randn(latents[chosen].shape, generator=generator)
        rebuilt = vae.decode(latents[chosen] + NOISE * noise).sample
        step(rebuild_loss(rebuilt, pixels))
        report(index + 1, psnr(rebuilt, pixels))


class Stepper:
    """AdamW with warm-up and cosine."""

    def __init__(self, parameters: list[nn.Parameter], steps: int, learning_rate: float = 2e-3) -> None:
        self.parameters = parameters
        self.optimizer = torch.optim.AdamW(parameters, learning_rate, weight_decay=0.0)

        def factor(step: int) -> float:
            return min(1.0, (step + 1) / 50) * (0.52 + 0.48 * math.cos(math.pi * step / steps))

        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, factor)

    def __call__(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.schedule.step()


def draw(pictures: Tensor, generator: torch.Generator) -> Tensor:
    return to_signed(pictures[torch.randint(len(pictures), (BATCH,), generator=generator)])


def rebuild_loss(rebuilt: Tensor, pixels: Tensor) -> Tensor:
    return F.l1_loss(rebuilt, pixels) + F.mse_loss(rebuilt, pixels)


def psnr(rebuilt: Tensor, pixels: Tensor) -> float:
    """Decibels, of pixels in -1..1."""
    return -10 * math.log10(F.mse_loss(rebuilt.detach(), pixels).item() / 4)


def to_signed(pictures: Tensor) -> Tensor:
    """uint8 -> float32 in -1..1, as a VAE takes it."""
    return pictures.float() / 127.5 - 1


@torch.inference_mode()
def encode_latents(vae: AutoencoderKL, pictures: Tensor, batch_size: int = 64) -> Tensor:
    """uint8 [M, 3, H, W] -> means of the posterior, float32 [M, channels, h, w], not yet scaled."""
    return torch.cat([vae.encode(to_signed(chunk)).latent_dist.mean for chunk in pictures.split(batch_size)]).clone()
