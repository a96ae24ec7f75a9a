"""Pixels from codes: a feature decoder conditions a latent diffusion model (Stable Diffusion 1.5 or SDXL).

UNet, autoencoder and schedulers are diffusers' own. The decoder's vectors take the place of a text encoder's states.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from mmgic.errors import InputError
from mmgic.schema import record_generator
from mmgic.stages.progress import counted
from mmgic.vision.folders import read_weights
from mmgic.vision.network.feature_decoder import Conditions, DecoderConfig, HighresDecoder, LowresDecoder, make_decoder
from mmgic.vision.pixels.parts import latent_scale, load_part, misfits

Model = TypeVar("Model", bound=nn.Module)

LOWRES_SIZES = ((512, 512),)  # height, width
HIGHRES_SIZES = ((1024, 1024), (896, 1152), (832, 1216), (768, 1344), (1216, 832), (1152, 896))


@dataclass(frozen=True)
class PixelConfig:
    """A pixel decoder's sizes and what it draws with unless told otherwise; config.json of its folder."""

    decoder: DecoderConfig
    sizes: tuple[tuple[int, int], ...] = LOWRES_SIZES  # (height, width) of pictures; the first is the usual one
    steps: int = 25
    guidance: float = 7.0

    def __post_init__(self) -> None:
        edges = [edge for size in self.sizes for edge in size]
        if not edges or any(type(edge) is not int or edge < 1 for edge in edges):
            raise InputError("pixel config: sizes takes a list of [height, width], positive whole numbers")
        if type(self.steps) is not int or self.steps < 1:
            raise InputError(f"pixel config: steps is {self.steps!r}; it takes a positive whole number")
        if type(self.guidance) not in (int, float) or not math.isfinite(self.guidance):
            raise InputError(f"pixel config: guidance is {self.guidance!r}; it takes a number")

    @classmethod
    def from_json(cls, text: str) -> PixelConfig:
        """Raises AttributeError, KeyError, TypeError or ValueError if the text is no such config, InputError for
        values that it cannot have."""
        values = json.loads(text)
        decoder = DecoderConfig(**values.pop("decoder"))
        sizes = tuple((height, width) for height, width in values.pop("sizes"))
        return cls(decoder, sizes, **values)


def unconditional(uncond: Tensor, prompt: Tensor) -> tuple[Tensor, Tensor]:
    """`uncond` [1, U, D] in the first U of the slots of `prompt` [B, N, D], and zeros: [1, N, D], with the mask of the
    slots in use, bool [1, N]."""
    padded = prompt.new_zeros(1, *prompt.shape[1:])
    padded[:, : uncond.shape[1]] = uncond
    return padded, torch.arange(prompt.shape[1], device=prompt.device)[None] < uncond.shape[1]


def time_ids(latents: Tensor, scale: int) -> Tensor:
    """SDXL's sizes for `latents` [B, C, h, w], float32 [B, 6]: of the original, of the crop's corner, of the picture.
    bfloat16 would round them."""
    height, width = (edge * scale for edge in latents.shape[-2:])
    return torch.tensor([height, width, 0, 0, height, width], dtype=torch.float32).expand(len(latents), -1)


class PixelDecoder:
    """Codes -> pictures. `uncond` [1, U, D] is the low-resolution variant's unconditional prompt, None in the other.

    Weights are in evaluation mode; UNet and feature decoder compute in `dtype`, the autoencoder in float32 if its
    config forces that (SDXL's).
    """

    def __init__(
        self,
        config: PixelConfig,
        decoder: LowresDecoder | HighresDecoder,
        codebook: Tensor,
        unet: UNet2DConditionModel,
        vae: AutoencoderKL,
        scheduler: DDIMScheduler,
        uncond: Tensor | None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.config = config
        self.device = torch.device(device)
        self.dtype = dtype
        self.decoder = decoder.to(device, dtype).eval()
        self.codebook = codebook.to(device, dtype)
        self.unet = cast(unet, device, dtype).eval()
        self.vae = cast(vae, device, torch.float32 if vae.config.force_upcast else dtype).eval()
        self.scale = latent_scale(vae)  # pixels along the edge of one latent
        self.scheduler = scheduler
        self.uncond = None if uncond is None else uncond.to(device, dtype)

    @torch.inference_mode()
    def conditions(self, codes: Sequence[Sequence[int] | Tensor]) -> Conditions:
        """Codes of B images, each of 0 to `decoder.patches` -> what the UNet reads.

        Every image is decoded alone, so that even an empty one does not depend on its neighbours. Raises InputError for
        codes that are not in the codebook, or too many of them.
        """
        parts = []
        for image in codes:
            ids = check_codes(image, len(self.codebook)).to(self.device)
            parts.append(self.decoder(self.codebook[ids], [len(ids)]))
        pooled = [part.pooled for part in parts if part.pooled is not None]
        return Conditions(torch.cat([part.prompt for part in parts]), torch.cat(pooled) if pooled else None)

    @torch.inference_mode()
    def sample(
        self,
        conditions: Conditions,
        noise: Tensor,
        steps: int,
        guidance: float,
        advance: Callable[[int], None] = lambda steps: None,
    ) -> Tensor:
        """Conditions of B images, standard normal `noise` float32 [B, channels, h, w] -> pixels [B, 3, H, W] in 0..1.

        Each step's answer is uncond + guidance * (cond - uncond); `advance` is told of each.
        """
        inputs = self._unet_inputs(conditions, noise)
        self.scheduler.set_timesteps(steps, device=self.device)
        latents = noise.to(self.device, self.dtype) * self.scheduler.init_noise_sigma
        for step in self.scheduler.timesteps:
            twice = self.scheduler.scale_model_input(torch.cat((latents, latents)), step)
            without, with_codes = self.unet(twice, step, **inputs).sample.chunk(2)
            latents = self.scheduler.step(without + guidance * (with_codes - without), step, latents).prev_sample
            advance(1)
        scaled = latents.to(self.vae.dtype) / self.vae.config.scaling_factor
        # one by one: in float32, a picture of 1024 x 1024 takes gigabytes here
        pictures = torch.cat([self.vae.decode(one).sample for one in scaled.split(1)])
        return (pictures.float() / 2 + 0.5).clamp(0, 1)

    def _unet_inputs(self, conditions: Conditions, noise: Tensor) -> dict[str, Any]:
        """The UNet's keyword arguments for [unconditional; conditional], 2B images."""
        prompt, pooled = conditions.prompt, conditions.pooled
        if pooled is None:
            if self.uncond is None:
                raise InputError("this low-resolution pixel decoder lacks its unconditional embeddings")
            empty, mask = unconditional(self.uncond, prompt)
            return {
                "encoder_hidden_states": torch.cat((empty.expand_as(prompt), prompt)),
                "encoder_attention_mask": torch.cat((mask.expand(len(prompt), -1), mask.new_ones(prompt.shape[:2]))),
            }
        return {
            "encoder_hidden_states": torch.cat((torch.zeros_like(prompt), prompt)),
            "added_cond_kwargs": {
                "text_embeds": torch.cat((torch.zeros_like(pooled), pooled)),
                "time_ids": time_ids(noise, self.scale).repeat(2, 1).to(self.device),
            },
        }

    def detokenize(
        self,
        codes: Sequence[Sequence[int] | Tensor],
        *,
        size: tuple[int, int] | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        seed: int = 0,
        names: Sequence[str] | None = None,
        batch_size: int = 4,
    ) -> list[Image.Image]:
        """Codes of B images -> B pictures in RGB of `size` (height, width), one of the config's.

        An image's starting noise comes from `seed` and its name (by default its position), not from its batch; batches
        of another size may differ in the last bit of a pixel. Raises InputError for codes, a size or settings that
        cannot be used.
        """
        steps = self.config.steps if steps is None else steps
        guidance = self.config.guidance if guidance is None else guidance
        height, width = self.check_size(size)
        self.check_steps(steps)
        if not math.isfinite(guidance):
            raise InputError(f"guidance is {guidance}; it takes a number")
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; take at least 1")
        names = [str(position) for position in range(len(codes))] if names is None else names
        if len(names) != len(codes):
            raise InputError(f"{len(names)} names for {len(codes)} images; give every image one")
        shape = (self.unet.config.in_channels, height // self.scale, width // self.scale)
        pictures: list[Image.Image] = []
        starts = range(0, len(codes), batch_size)
        with counted("drawing", len(starts) * steps, "steps") as advance:
            for start in starts:
                chunk = slice(start, start + batch_size)
                noise = torch.stack([starting_noise(seed, name, shape) for name in names[chunk]])
                pixels = self.sample(self.conditions(codes[chunk]), noise, steps, guidance, advance)
                pictures += [to_image(image) for image in pixels]
        return pictures

    def check_steps(self, steps: int) -> None:
        """Raises InputError for steps that the scheduler has no noise levels for."""
        config = self.scheduler.config
        # spaced from the first level on, the last step lies `steps_offset` levels after the last multiple
        most = config.num_train_timesteps - (config.steps_offset if config.timestep_spacing == "leading" else 0)
        if not 1 <= steps <= most:
            raise InputError(f"{steps} steps; take 1 to {most}")

    def check_size(self, size: tuple[int, int] | None) -> tuple[int, int]:
        if size is None:
            return self.config.sizes[0]
        if tuple(size) not in self.config.sizes:
            known = ", ".join(f"{height}x{width}" for height, width in self.config.sizes)
            raise InputError(f"a picture of {size[0]}x{size[1]} (height x width) cannot be drawn; take one of {known}")
        return size


def check_codes(codes: Sequence[int] | Tensor, codebook_size: int) -> Tensor:
    """`codes` as int64 [T]. Raises InputError if they are no whole numbers of the codebook."""
    try:
        ids = torch.as_tensor(codes)
    except (TypeError, ValueError, RuntimeError):
        raise InputError("visual codes are a flat list of whole numbers") from None
    if ids.numel() == 0:
        return ids.reshape(0).long()
    if ids.ndim != 1 or ids.is_floating_point() or ids.is_complex() or ids.dtype is torch.bool:
        raise InputError("visual codes are a flat list of whole numbers")
    outside = (ids < 0) | (ids >= codebook_size)
    if outside.any():
        position = int(outside.nonzero()[0])
        raise InputError(f"code {int(ids[position])} at position {position} is outside the codebook of {codebook_size}")
    return ids.long()


def starting_noise(seed: int, name: str, shape: tuple[int, ...]) -> Tensor:
    """Standard normal draws, float32, that belong to `seed` and `name` alone."""
    generator = record_generator(seed, "detokenize", "", name)
    return torch.from_numpy(generator.standard_normal(shape, dtype=np.float32))


def cast(model: Model, device: torch.device | str, dtype: torch.dtype) -> Model:
    """Moves one of diffusers' models, whose own `to` warns about layers that it does not have."""
    return nn.Module.to(model, device, dtype)


def to_image(pixels: Tensor) -> Image.Image:
    """[3, H, W] in 0..1 -> RGB of 8 bits."""
    return Image.fromarray((pixels * 255).round().byte().permute(1, 2, 0).cpu().numpy())


def save_pixel_decoder(pixels: PixelDecoder, folder: str | Path, dtype: torch.dtype = torch.float32) -> None:
    """Writes a folder that `load_pixel_decoder` reads; weights are stored as `dtype`."""
    folder = Path(folder)
    tensors = {f"decoder.{key}": value for key, value in pixels.decoder.state_dict().items()}
    tensors["codebook"] = pixels.codebook.float()
    if pixels.uncond is not None:
        tensors["uncond_embeddings"] = pixels.uncond
    write_conditions(folder, pixels.config, {k: v if k == "codebook" else v.to(dtype) for k, v in tensors.items()})
    for name, model in (("unet", pixels.unet), ("vae", pixels.vae)):
        kept = model.dtype
        cast(model, model.device, dtype).save_pretrained(folder / name)
        cast(model, model.device, kept)
    pixels.scheduler.save_pretrained(folder / "scheduler")


def write_conditions(folder: Path, config: PixelConfig, tensors: dict[str, Tensor]) -> None:
    """config.json and decoder.safetensors: `decoder.*`, `codebook` and, low resolution only, `uncond_embeddings`."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / "decoder.safetensors")
    (folder / "config.json").write_text(json.dumps(asdict(config), indent=2) + "\n", encoding="utf-8")


def load_pixel_decoder(folder: str | Path, device: torch.device | str = "cpu", dtype: str = "float32") -> PixelDecoder:
    """The pixel decoder that `save_pixel_decoder` or `mmgic vision import` wrote.

    Raises InputError if a file is missing, unreadable or of other sizes than the config says, or if the parts do
    not fit each other.
    """
    folder = Path(folder)
    try:
        config = PixelConfig.from_json((folder / "config.json").read_text(encoding="utf-8"))
    except OSError:
        raise InputError(f"{folder} is no pixel decoder: it holds no readable config.json") from None
    except InputError as error:
        raise InputError(f"{folder / 'config.json'}: {error}") from None
    except (AttributeError, KeyError, TypeError, ValueError):
        names = ", ".join(field.name for field in fields(PixelConfig))
        raise InputError(f"{folder / 'config.json'} does not hold the fields {names} of a pixel decoder") from None
    tensors = read_weights(folder / "decoder.safetensors")
    codebook, uncond = tensors.pop("codebook", None), tensors.pop("uncond_embeddings", None)
    if codebook is None:
        raise InputError(f"{folder / 'decoder.safetensors'} lacks the codebook that its decoder reads")
    decoder = make_decoder(config.decoder)
    try:
        decoder.load_state_dict({key.removeprefix("decoder."): value for key, value in tensors.items()})
        scheduler = DDIMScheduler.from_pretrained(folder / "scheduler", local_files_only=True)
    except Exception as error:  # diffusers checks its configs in many ways
        raise InputError(f"{folder} is incomplete or of other sizes than its configs say; import it again") from error
    unet = load_part(UNet2DConditionModel, folder / "unet", getattr(torch, dtype))
    vae = load_part(AutoencoderKL, folder / "vae", torch.float32)
    if wrong := "; ".join(misfits(config, codebook, uncond, unet, vae)):
        raise InputError(f"{folder} does not fit together: {wrong}")
    return PixelDecoder(config, decoder, codebook, unet, vae, scheduler, uncond, device, getattr(torch, dtype))
