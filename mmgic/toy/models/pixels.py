"""Sizes of the toy world's pixel decoder, and the training of its autoencoder.

The parts are the released ones' at a small size: an SD-1.5 style latent diffusion whose UNet reads what the low-
resolution feature decoder makes of an image's codes. Only the noise schedule differs: it ends in pure noise and the
UNet predicts velocities, without which so small a model misses the brightness of a picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn

from mmgic.settings import PixelTraining
from mmgic.vision.network.config import VisionConfig
from mmgic.vision.network.feature_decoder import DecoderConfig, LowresDecoder

Report = Callable[[int, float], None]

BATCH = 8  # pictures per step of the autoencoder
NOISE = 0.02  # on latents while the autoencoder's decoder is tuned
CONDITION_DIM = 96
UNCOND_SLOTS = 8
PICTURE = ((64, 64),)  # height, width
STEPS, GUIDANCE = 25, 1.5
TRAINING = PixelTraining(steps=5000, batch_size=16, learning_rate=1.5e-3, warmup_steps=100)
# then with the feature decoder: what draws a picture is more than what rebuilds its features
JOINT_TRAINING = PixelTraining(steps=2800, batch_size=16, learning_rate=8e-4, warmup_steps=100)


def decoder_config(vision: VisionConfig) -> DecoderConfig:
    """Of the trunk that the toy tokenizer is trained with."""
    return DecoderConfig(
        patches=vision.patches,
        width=vision.width,
        depth=2,
        num_heads=vision.merger_heads,
        mlp_hidden=vision.mlp_hidden,
        codebook_dim=vision.codebook_dim,
        feature_dim=vision.width,
        prompt_dim=CONDITION_DIM,
    )


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
    """Latents [B, 4, 16, 16] conditioned on [B, patches, CONDITION_DIM].

    At the lowest of its four levels, 2x2, the border tells every place from the others, and with it which of the
    conditions to read.
    """
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 40, 48, 40),
        layers_per_block=1,
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * 3),
        up_block_types=(*("CrossAttnUpBlock2D",) * 3, "UpBlock2D"),
        cross_attention_dim=CONDITION_DIM,
        attention_head_dim=4,  # heads, in spite of the name
        norm_num_groups=8,
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


def train_vae(vae: AutoencoderKL, pictures: Tensor, steps: int, generator: torch.Generator, report: Report) -> None:
    """Trains on `pictures` uint8 [M, 3, 64, 64] and sets the scaling_factor that gives latents deviation 1."""
    step = Stepper(list(vae.parameters()), steps)
    for index in range(steps):
        pixels = draw(pictures, generator)
        posterior = vae.encode(pixels).latent_dist
        rebuilt = vae.decode(posterior.sample(generator=generator)).sample
        step(rebuild_loss(rebuilt, pixels) + 1e-4 * posterior.kl().mean() / pixels[0].numel())
        report(index, psnr(rebuilt, pixels))
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
        report(index, psnr(rebuilt, pixels))


def train_trunk(
    decoder: LowresDecoder,
    codebook: Tensor,
    codes: Sequence[Tensor],
    features: Tensor,
    steps: int,
    generator: torch.Generator,
    report: Report,
) -> None:
    """Lets the feature decoder rebuild what the image encoder saw, LaVIT's cosine loss: `codes` int64 [T] of M pictures
    and the encoder's `features` [M, patches, width] of the same, in any float type."""
    step = Stepper([p for name, p in decoder.named_parameters() if not name.startswith("unet_")], steps, 1e-3)
    for index in range(steps):
        chosen = torch.randint(len(codes), (4 * BATCH,), generator=generator).tolist()
        picked = [codes[i] for i in chosen]
        rebuilt = decoder.features(codebook[torch.cat(picked)], [len(c) for c in picked])
        cosine = F.cosine_similarity(rebuilt, features[chosen].float(), dim=-1).mean()
        step(1 - cosine)
        report(index, cosine.item())


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
