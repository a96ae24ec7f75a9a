"""Trains the toy world's pixel decoder: a small autoencoder, then a small latent diffusion on the tokenizer's codes,
first behind the tokenizer's feature decoder as it is, then together with it.

    python jobs/train_toy_pixels.py --output mmgic/toy/weights/pixels

Costs about 30 minutes of one CPU core and 2 GB of memory. Leaves a folder that `mmgic vision reconstruct` draws with,
and metrics.json: how close pictures of unseen scenes come to the originals, and what their codes are worth against the
codes of another picture. After the tokenizer has changed, `--vae mmgic/toy/weights/pixels/vae` keeps the autoencoder
and halves the cost.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from mmgic.toy.models import pixels as toy
from mmgic.toy.models.pairs import make_pictures
from mmgic.toy.world.render import render
from mmgic.toy.world.scenes import Split, make_scene
from mmgic.vision import VisualTokenizer, load_tokenizer
from mmgic.vision.learning.diffusion import Denoiser, freeze_trunk, load_trunk, start_projection, train_denoiser
from mmgic.vision.network.feature_decoder import LowresDecoder
from mmgic.vision.pixels.pixel_decoder import PixelConfig, PixelDecoder, save_pixel_decoder
from mmgic.vision.preprocess import normalise
from mmgic.vision.reconstruct import reconstruct, sheet

TOY = Path(__file__).resolve().parents[1] / "mmgic" / "toy" / "weights"
WORLD_SEED = 100  # as the encoder's
TESTED_SEED = 101
DRAWS = 2  # patch selections of each picture


def reporter(stage: str, every: int) -> Callable[[int, float], None]:
    """Prints the mean of the figures of `every` steps."""
    began, figures = time.monotonic(), []

    def report(step: int, figure: float) -> None:
        figures.append(figure)
        if len(figures) == every:
            print(f"{stage} {step + 1}: {sum(figures) / every:.3f}  {time.monotonic() - began:.0f} s", flush=True)
            figures.clear()

    return report


def load_pictures(seed: int, split: Split, scenes: int) -> Tensor:
    return torch.stack([picture.pixels for picture in make_pictures(seed, split, scenes, 64)])


def make_autoencoder(pictures: Tensor, flags: argparse.Namespace, generator: torch.Generator) -> AutoencoderKL:
    if flags.vae:
        return AutoencoderKL.from_pretrained(flags.vae, use_safetensors=True, torch_dtype=torch.float32)
    vae = toy.make_vae()
    toy.train_vae(vae, pictures, flags.vae_steps, generator, reporter("autoencoder, dB", 50))
    latents = toy.encode_latents(vae, pictures)
    toy.tune_vae_decoder(
        vae, pictures, latents, flags.vae_decoder_steps, generator, reporter("autoencoder's decoder, dB", 50)
    )
    return vae


def encode(tokenizer: VisualTokenizer, pictures: Tensor, generator: torch.Generator) -> list[Tensor]:
    """Codes of each picture, the patches drawn from `generator`."""
    return [c for chunk in pictures.split(64) for c in tokenizer.encode(normalise(chunk), generator=generator)]


def make_decoder(
    tokenizer: VisualTokenizer,
    flags: argparse.Namespace,
    pictures: Tensor,
    codes: list[Tensor],
    generator: torch.Generator,
) -> LowresDecoder:
    """The feature decoder that the tokenizer was trained with, where it lies beside it, else a trained new one; with a
    new projection, which alone will learn."""
    decoder = LowresDecoder(toy.decoder_config(tokenizer.config))
    if not load_trunk(decoder, flags.tokenizer):
        with torch.no_grad():
            features = torch.cat([tokenizer.patch_features(normalise(c)).half() for c in pictures.split(64)])
        codebook = tokenizer.quantize.embedding.weight.detach()
        report = reporter("feature decoder, cosine", 50)
        toy.train_trunk(decoder, codebook, codes, features.repeat(DRAWS, 1, 1), flags.trunk_steps, generator, report)
    freeze_trunk(decoder)
    few = codes[:64]
    with torch.no_grad():
        rows = tokenizer.quantize.embedding.weight[torch.cat(few)]
        start_projection(decoder.unet_proj, decoder.features(rows, [len(c) for c in few]).flatten(0, 1))
    return decoder


def measure(pixels: PixelDecoder, pictures: Tensor, codes: list[Tensor]) -> dict[str, float]:
    """Mean PSNR in dB of drawn pictures, of the autoencoder alone, and of pictures drawn from their neighbour's codes;
    and the share of pictures that are nearer to their original than to any other original."""
    drawn = pixels.detokenize(codes, batch_size=64)
    ours = torch.stack([torch.frombuffer(bytearray(p.tobytes()), dtype=torch.uint8).view(64, 64, 3) for p in drawn])
    ours = toy.to_signed(ours.permute(0, 3, 1, 2))
    originals = toy.to_signed(pictures)
    with torch.inference_mode():
        rebuilt = pixels.vae(originals).sample
    distances = torch.cdist(ours.flatten(1), originals.flatten(1))
    return {
        "psnr": round(toy.psnr(ours, originals), 2),
        "psnr_of_autoencoder": round(toy.psnr(rebuilt, originals), 2),
        "psnr_with_codes_of_another": round(toy.psnr(ours.roll(1, 0), originals), 2),
        "nearest_original_is_its_own": round((distances.argmin(1) == torch.arange(len(ours))).float().mean().item(), 4),
    }


def draw_sheet(path: Path, tokenizer: VisualTokenizer, decoder: PixelDecoder, scenes: int = 6) -> None:
    images = [render(make_scene(TESTED_SEED, "eval", index)) for index in range(scenes)]
    results = [reconstruct(image, tokenizer, decoder, name=str(index)) for index, image in enumerate(images)]
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet(results).save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, default=TOY / "tokenizer", help="default: the packaged one")
    parser.add_argument("--vae", type=Path, help="folder of an autoencoder to keep")
    parser.add_argument("--scenes", type=int, default=3000)
    parser.add_argument("--vae-steps", type=int, default=350)
    parser.add_argument("--vae-decoder-steps", type=int, default=900)
    parser.add_argument("--trunk-steps", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=toy.TRAINING.steps)
    parser.add_argument("--joint-steps", type=int, default=toy.JOINT_TRAINING.steps)
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="also draw six unseen scenes into this picture")
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(flags.seed)
    generator = torch.Generator().manual_seed(flags.seed)
    began = time.monotonic()

    pictures = load_pictures(WORLD_SEED, "train", flags.scenes)
    vae = make_autoencoder(pictures, flags, generator).eval()
    tokenizer = load_tokenizer(flags.tokenizer)
    codes = [c for _ in range(DRAWS) for c in encode(tokenizer, pictures, generator)]
    latents = toy.encode_latents(vae, pictures) * vae.config.scaling_factor
    print(f"{len(pictures)} pictures, {sum(map(len, codes)) / len(codes):.1f} codes each", flush=True)

    model = Denoiser(
        make_decoder(tokenizer, flags, pictures, codes, generator),
        toy.make_unet(),
        tokenizer.quantize.embedding.weight.detach(),
        0.02 * torch.randn(1, toy.UNCOND_SLOTS, toy.CONDITION_DIM),
        scale=4,
    )
    scheduler = toy.make_scheduler()
    phases = (replace(toy.TRAINING, steps=flags.steps), replace(toy.JOINT_TRAINING, steps=flags.joint_steps))
    for name, settings in zip(("diffusion", "joint"), phases, strict=True):
        report = reporter(f"{name}, loss", 1)
        train_denoiser(
            model,
            scheduler,
            latents.repeat(DRAWS, 1, 1, 1),
            codes,
            settings,
            generator,
            lambda step, loss, report=report: report(step - 1, loss),  # type: ignore[misc]
        )
        model.requires_grad_(True)

    config = PixelConfig(model.decoder.config, toy.PICTURE, toy.STEPS, toy.GUIDANCE)
    decoder = PixelDecoder(
        config, model.decoder, model.codebook, model.unet, vae, scheduler, model.uncond.detach(), "cpu"
    )
    save_pixel_decoder(decoder, flags.output, torch.float16)
    tested = load_pictures(TESTED_SEED, "eval", 64)
    metrics = {
        "command": " ".join(["python", *sys.argv]),
        "seed": flags.seed,
        "seconds": round(time.monotonic() - began),
        "settings": [asdict(settings) for settings in phases],
        **measure(decoder, tested, encode(tokenizer, tested, generator)),
    }
    (flags.output / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    print(json.dumps(metrics, indent=2))
    if flags.sheet:
        draw_sheet(flags.sheet, tokenizer, decoder)


if __name__ == "__main__":
    main()
