"""The last phase of tokenizer training: a pixel decoder learns to draw images from the trained tokenizer's codes.

The steps of one worker, as `Learner` has them for the tokenizer: everything drawn in a step comes from the seed, the
step's number and the image's place in the whole batch, so that a run that goes on makes the steps of one that was never
interrupted, on any number of workers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mmgic.settings import PixelTraining
from mmgic.vision.learning.codebook import summed, workers
from mmgic.vision.learning.diffusion import Denoiser, draw, loss_of_draws
from mmgic.vision.learning.features import read_frame
from mmgic.vision.learning.learner import MOMENTS, drawn
from mmgic.vision.network.selector import gumbel_noise
from mmgic.vision.network.tokenizer import VisualTokenizer
from mmgic.vision.pixels.pixel_decoder import PixelDecoder
from mmgic.vision.preprocess import normalise


@dataclass(frozen=True)
class PixelFigures:
    """One step, over all workers."""

    step: int  # 0-based
    loss: float  # mean squared error of what the scheduler predicts
    learning_rate: float
    grad_norm: float

    def summary(self) -> str:
        return f"loss {self.loss:.4f}  |g| {self.grad_norm:.2f}"


@dataclass(frozen=True)
class PixelData:
    """Images in the tokenizer's size and in the size that is drawn."""

    paths: Sequence[str]
    size: int
    picture: int
    pool: ThreadPoolExecutor

    def load(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """uint8 [B, 3, size, size] and [B, 3, picture, picture]."""

        def both(index: int) -> tuple[Tensor, Tensor]:
            one, other = read_frame(self.paths, index, (self.size, self.picture))
            return one, other

        small, large = zip(*self.pool.map(both, indices), strict=True)
        return torch.stack(small), torch.stack(large)


def denoiser_of(pixels: PixelDecoder) -> Denoiser:
    """What of a pixel decoder is trained; its modules are shared."""
    scale = 2 ** (len(pixels.vae.config.block_out_channels) - 1)
    return Denoiser(pixels.decoder, pixels.unet, pixels.codebook, pixels.uncond, scale)


class PixelLearner:
    """One worker's part: the pixel decoder's trained modules, and the frozen tokenizer and autoencoder."""

    def __init__(
        self,
        pixels: PixelDecoder,
        tokenizer: VisualTokenizer,
        data: PixelData,
        settings: PixelTraining,
        seed: int,
        device: torch.device,
    ) -> None:
        self.pixels, self.data, self.settings, self.seed, self.device = pixels, data, settings, seed, device
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        self.tokenizer = tokenizer.to(device).eval()
        self.vae = pixels.vae.to(device).requires_grad_(False)
        self.model = denoiser_of(pixels).to(device).train()
        self.model.requires_grad_(True)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.module: nn.Module = self.model
        if workers() > 1:
            ids = [device] if device.type == "cuda" else None
            self.module = nn.parallel.DistributedDataParallel(self.model, device_ids=ids, broadcast_buffers=False)

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        return dict(self.model.named_parameters())

    def indices(self, step: int) -> list[int]:
        """This worker's images of a step."""
        total = self.settings.batch_size
        chosen = torch.randint(len(self.data.paths), (total,), generator=drawn(self.seed, "pictures", step))
        return chosen[self.rank * total // workers() : (self.rank + 1) * total // workers()].tolist()

    def step(self, step: int, loaded: tuple[Tensor, Tensor]) -> PixelFigures:
        settings = self.settings
        rate = settings.learning_rate * min(1.0, (step + 1) / settings.warmup_steps)
        rate *= 0.51 + 0.49 * math.cos(math.pi * step / settings.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        total, count = torch.zeros((), device=self.device), len(loaded[0])
        for start in range(0, count, settings.micro_batch):
            part = slice(start, min(start + settings.micro_batch, count))
            # workers exchange gradients once
            shared = self.module if isinstance(self.module, nn.parallel.DistributedDataParallel) else None
            with shared.no_sync() if shared and part.stop < count else nullcontext():
                loss = self._loss(step, part, loaded) * ((part.stop - part.start) / count)
                loss.backward()
            total += loss.detach()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return PixelFigures(step, (summed(total) / workers()).item(), rate, norm.item())

    def _loss(self, step: int, part: slice, loaded: tuple[Tensor, Tensor]) -> Tensor:
        """Mean over the images `part` of this worker's share."""
        settings, first = self.settings, self.rank * self.settings.batch_size // workers()
        generators = [drawn(self.seed, f"picture {first + i}", step) for i in range(part.start, part.stop)]
        latents, codes = self._encode((loaded[0][part], loaded[1][part]), generators)
        scheduler, shape = self.pixels.scheduler, (1, *latents.shape[1:])
        count = scheduler.config.num_train_timesteps
        draws = [draw(shape, count, settings.unconditional_share, generator) for generator in generators]
        noise, steps, dropped = (torch.cat(parts) for parts in zip(*draws, strict=True))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=settings.dtype == "bfloat16"):
            return loss_of_draws(self.module, scheduler, latents, codes, (noise, steps, dropped))

    def parameters(self) -> dict[str, Tensor]:
        return dict(self.trained)

    def moments(self) -> dict[str, Tensor]:
        return {f"{name}.{m}": self.optimizer.state[p][m] for name, p in self.trained.items() for m in MOMENTS}

    def resume(self, step: int, moments: Mapping[str, Tensor]) -> None:
        """Goes on after `step` steps; the parameters are loaded already."""
        for name, parameter in self.trained.items():
            state = {moment: moments[f"{name}.{moment}"].to(parameter).clone() for moment in MOMENTS}
            self.optimizer.state[parameter] = {"step": torch.tensor(float(step)), **state}

    @torch.no_grad()
    def _encode(
        self, loaded: tuple[Tensor, Tensor], generators: Sequence[torch.Generator]
    ) -> tuple[Tensor, list[Tensor]]:
        """Scaled latents [B, C, h, w] and the codes int64 [T] of each image."""
        small, large = (pixels.to(self.device, non_blocking=True) for pixels in loaded)
        shape = (self.tokenizer.config.patches, 2)
        noise = torch.stack([gumbel_noise(shape, generator, self.device) for generator in generators])
        codes = self.tokenizer.encode(normalise(small), noise=noise)
        latents = self.vae.encode(large.float() / 127.5 - 1).latent_dist.mode()
        return latents * self.vae.config.scaling_factor, codes
