"""The steps of one worker of tokenizer training. It knows torch.distributed and nothing of Ray.

Everything drawn in a step comes from the seed and the step's number, for the whole batch of all workers, of which each
takes its share. A run that goes on from a checkpoint therefore makes the steps of one that was never interrupted, and
the number of workers changes nothing but rounding.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from mmgic.errors import InputError
from mmgic.settings import TokenizerStage
from mmgic.training.loop import prefetched
from mmgic.vision.learning.codebook import CodebookAverages, gathered, spherical_kmeans, summed, workers
from mmgic.vision.learning.features import Features
from mmgic.vision.learning.objective import Objective, Outcome, sample_policy
from mmgic.vision.network.selector import gumbel_noise

MOMENTS = ("exp_avg", "exp_avg_sq")
_STANDARDISED_ON = 2000  # images
_FEWEST_FOR_KMEANS = 500  # images


@dataclass(frozen=True)
class StepFigures:
    """One step, over all workers."""

    step: int  # 0-based, over all stages
    stage: TokenizerStage
    loss: float
    cosine: float  # mean of rebuilt and true targets
    tokens_per_image: float
    distance: float  # mean squared, of vectors and codebook rows
    codes_used: float  # share of rows that are not dead; 0 in the first stage, as perplexity
    perplexity: float  # exponential of the entropy of the codes' use, at most the number of codes
    revived: int  # codebook rows that were dead and begin again
    learning_rate: float
    grad_norm: float  # before clipping to 1

    def summary(self) -> str:
        return (
            f"{self.stage}  cosine {self.cosine:.3f}  codes used {self.codes_used:.0%}  "
            f"perplexity {self.perplexity:.0f}  tokens/image {self.tokens_per_image:.1f}"
        )


def drawn(seed: int, purpose: str, step: int = 0) -> torch.Generator:
    """The generator of all that is drawn for one purpose in one step, the same on every worker."""
    entropy = np.random.SeedSequence((seed, step, *purpose.encode())).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(entropy >> 1))


def checkpoint_tensors(objective: Objective, averages: CodebookAverages) -> dict[str, Tensor]:
    """What a checkpoint holds of modules and codebook by name: the tensors themselves, no copies."""
    learned = {name: p for name, p in objective.named_parameters() if not name.startswith("head.")}
    return {
        **learned,
        "mean": objective.mean,
        "std": objective.std,
        **{f"averages.{name}": tensor for name, tensor in averages.state().items()},
    }


class Learner:
    """One worker's modules, optimizer and codebook averages. All workers call its methods at the same steps."""

    def __init__(self, objective: Objective, data: Features, seed: int, device: torch.device) -> None:
        self.objective = objective.to(device)
        self.settings = objective.settings
        self.data = data
        self.seed = seed
        self.device = device
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        self.averages = CodebookAverages(objective.quantizer, self.settings.codebook_decay)
        self.enter(self.settings.stage(0)[0])

    def enter(self, stage: TokenizerStage) -> None:
        """Begins a stage: which parts learn, with an optimizer of their own."""
        objective, settings = self.objective, self.settings
        objective.requires_grad_(stage != "decoder")
        objective.head.requires_grad_(False)
        objective.quantizer.requires_grad_(False)
        objective.selector.requires_grad_(stage == "continuous")
        if objective.ranks is not None:
            objective.ranks.requires_grad_(stage == "decoder")
        self.stage: TokenizerStage = stage
        self.trained = {name: p for name, p in objective.named_parameters() if p.requires_grad}
        self.optimizer = torch.optim.AdamW(
            self.trained.values(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.module: nn.Module = objective
        gc.collect()  # an earlier wrapper's hooks on the parameters go with it
        if workers() > 1:
            ids = [self.device] if self.device.type == "cuda" else None
            # the buffers are the same on all workers from the start
            self.module = nn.parallel.DistributedDataParallel(objective, device_ids=ids, broadcast_buffers=False)

    def indices(self, step: int) -> list[int]:
        """The positions in `data` of this worker's images of a step, drawn with replacement."""
        chosen = torch.randint(len(self.data), (self.settings.batch_size,), generator=drawn(self.seed, "images", step))
        return chosen[self.share(len(chosen))].tolist()

    def share(self, total: int) -> slice:
        """This worker's part of range(total)."""
        return slice(self.rank * total // workers(), (self.rank + 1) * total // workers())

    def standardise(self) -> None:
        """Measures the targets on a sample, which every worker encodes for itself."""
        if self.settings.target == "features":
            return  # LaVIT compares them as they are
        count = min(_STANDARDISED_ON, len(self.data))
        chosen = torch.randint(len(self.data), (count,), generator=drawn(self.seed, "standardise")).tolist()
        self.objective.standardise(torch.cat([self._features(chosen[i : i + 64]) for i in range(0, count, 64)]))

    @torch.no_grad()
    def start_codebook(self) -> None:
        """k-means over the vectors of enough images, of which each worker makes its share."""
        objective, settings = self.objective, self.settings
        codes, patches = objective.quantizer.embedding.weight.shape[0], objective.patches
        images = max(_FEWEST_FOR_KMEANS, math.ceil(settings.vectors_per_code * codes / patches))
        generator = drawn(self.seed, "kmeans")
        chosen = torch.randint(len(self.data), (images,), generator=generator)
        noise = gumbel_noise((images, patches, 2), generator, torch.device("cpu"))
        found = []
        for part in torch.arange(images)[self.share(images)].split(64):
            features = self._features(chosen[part].tolist())
            policy = sample_policy(objective.selector(features), noise[part].to(self.device))
            found.append(objective.vectors(features, policy)[policy.bool()])
        vectors = gathered(torch.cat(found))
        if len(vectors) < codes:
            raise InputError(
                f"{images} images gave {len(vectors)} vectors for {codes} codes; raise vectors_per_code or keep_ratio"
            )
        rows = spherical_kmeans(vectors, codes, settings.kmeans_rounds, generator)
        if workers() > 1:
            dist.broadcast(rows, 0)
        self.averages.restart(rows)

    def step(self, step: int, loaded: Tensor) -> StepFigures:
        """Makes a step from this worker's images, `loaded` as `Features.load` gives them for `indices(step)`."""
        settings = self.settings
        stage, first, _ = settings.stage(step)
        if stage == "quantized" and step == first > 0:
            self.start_codebook()  # a run without a first stage goes on with the codebook that it was given
        if stage != self.stage:
            self.enter(stage)
        rate = self.learning_rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        generator = drawn(self.seed, "noise", step)
        noise = gumbel_noise((settings.batch_size, self.objective.patches, 2), generator, torch.device("cpu"))
        share = noise[self.share(settings.batch_size)].to(self.device)
        outcome: Outcome = self.module(self.data.encode(loaded), share, stage)
        self.optimizer.zero_grad()
        outcome.loss.backward()
        norm = nn.utils.clip_grad_norm_(self.trained.values(), 1.0)
        self.optimizer.step()
        revived = 0
        if stage == "quantized":
            self.averages.update(outcome.vectors, outcome.codes)
            into = step - first
            if into % settings.revive_every == 0 and into < 0.8 * settings.quantized_steps:
                revived = self.averages.revive(outcome.vectors, drawn(self.seed, "revive", step))
        means = summed(torch.stack((outcome.cosine, outcome.kept, outcome.distance))) / workers()
        cosine, kept, distance = means.tolist()
        use = self.averages.figures() if stage != "continuous" else {"codes_used": 0.0, "perplexity": 0.0}
        loss = 1 - cosine
        if stage != "decoder":
            loss += settings.commitment_weight * distance
            loss += settings.keep_weight * (kept - settings.keep_ratio) ** 2
        return StepFigures(
            step=step,
            stage=stage,
            loss=loss,
            cosine=cosine,
            tokens_per_image=kept * self.objective.patches,
            distance=distance,
            revived=revived,
            learning_rate=rate,
            grad_norm=norm.item(),
            **use,
        )

    def learning_rate(self, step: int) -> float:
        """Warm-up and cosine down to a tenth, in each stage."""
        settings = self.settings
        _, first, steps = settings.stage(step)
        into = step - first
        warmup = min(1.0, (into + 1) / settings.warmup_steps)
        return settings.learning_rate * warmup * (0.55 + 0.45 * math.cos(math.pi * into / steps))

    def parameters(self) -> dict[str, Tensor]:
        return checkpoint_tensors(self.objective, self.averages)

    def moments(self) -> dict[str, Tensor]:
        """Adam's moments by parameter; zeros before the first step."""
        state = self.optimizer.state
        return {
            f"{name}.{moment}": state[p][moment] if p in state else torch.zeros_like(p)
            for name, p in self.trained.items()
            for moment in MOMENTS
        }

    def resume(self, step: int, moments: Mapping[str, Tensor]) -> None:
        """Goes on after `step` steps with the `moments` of a checkpoint, whose parameters are loaded already, in the
        stage of the last step made, which is entered."""
        made = step - self.settings.stage(step - 1)[1]
        for name, parameter in self.trained.items():
            state = {moment: moments[f"{name}.{moment}"].to(parameter).clone() for moment in MOMENTS}
            self.optimizer.state[parameter] = {"step": torch.tensor(float(made)), **state}

    @torch.no_grad()
    def evaluate(self, data: Features) -> dict[str, object]:
        """Figures of the codes of images that training did not see, selected by noise as at inference.

        Means over images; codes_used is the share of the codebook that any image uses, perplexity the exponential of
        the entropy of the codes' use (at most the number of codes).
        """
        objective = self.objective.eval()
        patches, codebook = objective.patches, objective.quantizer.embedding.weight
        noise = gumbel_noise((len(data), patches, 2), drawn(self.seed, "evaluate"), torch.device("cpu"))
        totals, lengths, chosen = torch.zeros(2), [], torch.zeros(len(codebook))
        for part in torch.arange(len(data)).split(64):
            features = data.encode(data.load(part.tolist()))
            outcome = objective(features, noise[part].to(self.device), "quantized")
            totals[0] += outcome.cosine.item() * len(part)
            if objective.ranks is not None:
                again = objective(features, noise[part].to(self.device), "decoder")
                totals[1] += again.cosine.item() * len(part)
            policy = sample_policy(objective.selector(features), noise[part].to(self.device))
            lengths += policy.bool().sum(dim=1).tolist()
            chosen += torch.bincount(outcome.codes.cpu(), minlength=len(codebook))
        objective.train()
        share = chosen / chosen.sum()
        return {
            "images": len(data),
            # without steps of the first two stages, the decoder that judged the codes is not there
            **({"cosine": round(totals[0].item() / len(data), 4)} if self.settings.quantized_steps else {}),
            **({"cosine_of_lavit_decoder": round(totals[1].item() / len(data), 4)} if objective.ranks else {}),
            "codes_used": round((share > 0).float().mean().item(), 4),
            "perplexity": round(torch.special.entr(share).sum().exp().item(), 1),
            "tokens_per_image": {
                "mean": round(sum(lengths) / len(lengths), 2),
                "min": min(lengths),
                "max": max(lengths),
            },
        }

    def _features(self, indices: list[int]) -> Tensor:
        return self.data.encode(self.data.load(indices))


def train(
    learner: Any,
    start: int,
    on_step: Callable[[Any], None],
    due: Callable[[int], bool],
    on_checkpoint: Callable[[int], None],
) -> None:
    """Makes the steps of a `Learner` or `PixelLearner` from `start` to the end.

    `on_step(figures)` is called after each, and then `on_checkpoint(steps made)` if one is `due(steps made)`.

    Raises InputError if the loss is no number.
    """
    settings = learner.settings

    def load(step: int) -> Any:
        return learner.data.load(learner.indices(step))

    for step, loaded, _ in prefetched(load, start, settings.steps):
        figures = learner.step(step, loaded)
        if not math.isfinite(figures.loss):
            raise InputError(f"the loss of step {step + 1} is not finite; lower learning_rate and begin another run")
        on_step(figures)
        if due(step + 1):
            on_checkpoint(step + 1)
