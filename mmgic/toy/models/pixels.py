"""The toy world's pixel decoder: a small latent diffusion on the tokenizer's codes.

The parts are the released ones' at a small size: an SD-1.5 style latent diffusion whose UNet reads what the low-
resolution feature decoder makes of an image's codes. Only the noise schedule differs: it ends in pure noise and the
UNet predicts velocities, without which so small a model misses the brightness of a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import Tensor

from mmgic.presets import TOY_WEIGHTS, preset
from mmgic.settings.fields import Group, number, path
from mmgic.toy.models.autoencoder import (
    BATCH,
    Report,
    Stepper,
    encode_latents,
    make_vae,
    psnr,
    to_signed,
    train_vae,
    tune_vae_decoder,
)
from mmgic.toy.models.making import StepPrinter
from mmgic.toy.models.pairs import make_pictures
from mmgic.toy.world.render import render
from mmgic.toy.world.scenes import Split, make_scene
from mmgic.vision import VisualTokenizer, load_tokenizer
from mmgic.vision.learning.diffusion import Denoiser, freeze_trunk, load_trunk, start_projection, train_denoiser
from mmgic.vision.network.config import VisionConfig
from mmgic.vision.network.feature_decoder import DecoderConfig, LowresDecoder
from mmgic.vision.pixels.pixel_decoder import PixelConfig, PixelDecoder, save_pixel_decoder
from mmgic.vision.preprocess import normalise
from mmgic.vision.reconstruct import reconstruct, sheet

WORLD_SEED = 100  # as the encoder's
TESTED_SEED = 101
DRAWS = 2  # patch selections of each picture
CONDITION_DIM = 96
UNCOND_SLOTS = 8
PICTURE = ((64, 64),)  # height, width
STEPS, GUIDANCE = 25, 1.5
# with the feature decoder: what draws a picture is more than what rebuilds its features
JOINT_TRAINING = preset("toy").pixel_training
TRAINING = replace(JOINT_TRAINING, steps=5000, learning_rate=1.5e-3)  # before


@dataclass(frozen=True)
class PixelsRun(Group):
    """What is trained and how."""

    tokenizer: str = path(str(TOY_WEIGHTS / "tokenizer"))
    vae: str = path()  # folder of an autoencoder to keep, such as the packaged one's; halves the cost
    sheet: str = path()  # a PNG file to draw six unseen scenes into; "": none
    scenes: int = number(3000, 1)
    vae_steps: int = number(350, 1)
    vae_decoder_steps: int = number(900, 1)
    trunk_steps: int = number(1000, 1)  # of the feature decoder, if the tokenizer's folder has none
    steps: int = number(TRAINING.steps, 1)
    joint_steps: int = number(JOINT_TRAINING.steps, 1)
    seed: int = number(0, 0)


def make_pixels(run: PixelsRun, output: Path) -> dict[str, object]:
    """Trains a small autoencoder, then a small latent diffusion on the tokenizer's codes, first behind the tokenizer's
    feature decoder as it is, then together with it. Leaves a folder that `mmgic vision reconstruct` draws with; the
    scores are `measure`'s."""
    torch.manual_seed(run.seed)
    generator = torch.Generator().manual_seed(run.seed)
    pictures = load_pictures(WORLD_SEED, "train", run.scenes)
    vae = make_autoencoder(run, pictures, generator).eval()
    tokenizer = load_tokenizer(run.tokenizer)
    codes = [c for _ in range(DRAWS) for c in encode(tokenizer, pictures, generator)]
    latents = encode_latents(vae, pictures) * vae.config.scaling_factor
    print(f"{len(pictures)} pictures, {sum(map(len, codes)) / len(codes):.1f} codes each", flush=True)

    model = Denoiser(
        make_decoder(run, tokenizer, pictures, codes, generator),
        make_unet(),
        tokenizer.quantize.embedding.weight.detach(),
        0.02 * torch.randn(1, UNCOND_SLOTS, CONDITION_DIM),
        scale=4,
    )
    scheduler = make_scheduler()
    phases = (replace(TRAINING, steps=run.steps), replace(JOINT_TRAINING, steps=run.joint_steps))
    for name, settings in zip(("diffusion", "joint"), phases, strict=True):
        progress = StepPrinter(50, settings.steps, f"{name} loss")
        train_denoiser(
            model, scheduler, latents.repeat(DRAWS, 1, 1, 1), codes, settings, generator, progress, report_every=1
        )
        model.requires_grad_(True)

    config = PixelConfig(model.decoder.config, PICTURE, STEPS, GUIDANCE)
    uncond = None if model.uncond is None else model.uncond.detach()
    decoder = PixelDecoder(config, model.decoder, model.codebook, model.unet, vae, scheduler, uncond, "cpu")
    save_pixel_decoder(decoder, output, torch.float16)
    if run.sheet:
        draw_sheet(Path(run.sheet), tokenizer, decoder)
    tested = load_pictures(TESTED_SEED, "eval", 64)
    return measure(decoder, tested, encode(tokenizer, tested, generator))


def load_pictures(seed: int, split: Split, scenes: int) -> Tensor:
    """uint8 [2 * scenes, 3, 64, 64]."""
    return torch.stack([picture.pixels for picture in make_pictures(seed, split, scenes, 64)])


def make_autoencoder(run: PixelsRun, pictures: Tensor, generator: torch.Generator) -> AutoencoderKL:
    if run.vae:
        return AutoencoderKL.from_pretrained(run.vae, use_safetensors=True, torch_dtype=torch.float32)
    vae = make_vae()
    train_vae(vae, pictures, run.vae_steps, generator, StepPrinter(50, run.vae_steps, "autoencoder dB"))
    latents = encode_latents(vae, pictures)
    progress = StepPrinter(50, run.vae_decoder_steps, "autoencoder's decoder dB")
    tune_vae_decoder(vae, pictures, latents, run.vae_decoder_steps, generator, progress)
    return vae


def encode(tokenizer: VisualTokenizer, pictures: Tensor, generator: torch.Generator) -> list[Tensor]:
    """Codes of each picture, the patches drawn from `generator`."""
    return [c for chunk in pictures.split(64) for c in tokenizer.encode(normalise(chunk), generator=generator)]


def make_decoder(
    run: PixelsRun, tokenizer: VisualTokenizer, pictures: Tensor, codes: list[Tensor], generator: torch.Generator
) -> LowresDecoder:
    """The feature decoder that the tokenizer was trained with, if it lies beside it, else a trained new one; with a new
    projection, which alone will learn."""
    decoder = LowresDecoder(decoder_config(tokenizer.config))
    codebook = tokenizer.quantize.embedding.weight.detach()
    if not load_trunk(decoder, Path(run.tokenizer)):
        with torch.no_grad():
            features = torch.cat([tokenizer.patch_features(normalise(c)).half() for c in pictures.split(64)])
        progress = StepPrinter(50, run.trunk_steps, "feature decoder cosine")
        train_trunk(decoder, codebook, codes, features.repeat(DRAWS, 1, 1), run.trunk_steps, generator, progress)
    freeze_trunk(decoder)
    few = codes[:64]
    with torch.no_grad():
        features = decoder.features(codebook[torch.cat(few)], [len(c) for c in few])
    start_projection(decoder.unet_proj, features.flatten(0, 1))
    return decoder


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
        report(index + 1, cosine.item())


def measure(pixels: PixelDecoder, pictures: Tensor, codes: list[Tensor]) -> dict[str, object]:
    """Mean PSNR in dB of drawn pictures, of the autoencoder alone, and of pictures drawn from their neighbour's codes;
    and the share of pictures that are nearer to their original than to any other original."""
    drawn = pixels.detokenize(codes, batch_size=64)
    ours = torch.stack([torch.frombuffer(bytearray(p.tobytes()), dtype=torch.uint8).view(64, 64, 3) for p in drawn])
    ours = to_signed(ours.permute(0, 3, 1, 2))
    originals = to_signed(pictures)
    with torch.inference_mode():
        rebuilt = pixels.vae(originals).sample
    distances = torch.cdist(ours.flatten(1), originals.flatten(1))
    return {
        "psnr": round(psnr(ours, originals), 2),
        "psnr_of_autoencoder": round(psnr(rebuilt, originals), 2),
        "psnr_with_codes_of_another": round(psnr(ours.roll(1, 0), originals), 2),
        "nearest_original_is_its_own": round((distances.argmin(1) == torch.arange(len(ours))).float().mean().item(), 4),
    }


def draw_sheet(path: Path, tokenizer: VisualTokenizer, decoder: PixelDecoder, scenes: int = 6) -> None:
    images = [render(make_scene(TESTED_SEED, "eval", index)) for index in range(scenes)]
    results = [reconstruct(image, tokenizer, decoder, name=str(index)) for index, image in enumerate(images)]
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet(results).save(path, optimize=True)
