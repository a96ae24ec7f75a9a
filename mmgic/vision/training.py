"""Training a visual tokenizer on a frozen encoder: its codes must let a small decoder rebuild what the encoder saw.

LaVIT's two stages: first selector and merger with the unquantized vectors, then, with the selector frozen, everything
through the codebook, which starts from k-means and follows its vectors by moving averages.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgic.vision.config import VisionConfig
from mmgic.vision.encoder import NORM_EPS, Block, Mlp
from mmgic.vision.merger import MaskedAttention
from mmgic.vision.quantizer import Quantizer
from mmgic.vision.selector import gumbel_noise
from mmgic.vision.tokenizer import VisualTokenizer

Report = Callable[[str, int, dict[str, float]], None]


@dataclass(frozen=True)
class TokenizerTraining:
    """Steps of both stages and the weights of what is minimised."""

    continuous_steps: int = 250
    quantized_steps: int = 350
    batch_size: int = 64  # pictures
    learning_rate: float = 1e-3
    keep_ratio: float = 1 / 3
    keep_weight: float = 20.0
    commitment_weight: float = 0.25
    codebook_decay: float = 0.99
    revive_every: int = 25  # steps between looks for rows that nothing chooses


class FeatureDecoder(nn.Module):
    """Rebuilds the targets of all patches from the kept patches' vectors at their places; needed in training only."""

    def __init__(self, config: VisionConfig, target_dim: int, depth: int = 2) -> None:
        super().__init__()
        self.in_proj = nn.Linear(config.codebook_dim, config.width)
        self.dropped = nn.Parameter(torch.zeros(config.width))
        self.position = nn.Parameter(0.02 * torch.randn(config.patches, config.width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(depth))
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.out_proj = nn.Linear(config.width, target_dim)

    def forward(self, vectors: Tensor, policy: Tensor) -> Tensor:
        """Unit vectors [B, N, codebook_dim], read where `policy` [B, N] is 1 -> [B, N, target_dim]."""
        kept = policy[..., None]
        x = kept * self.in_proj(vectors) + (1 - kept) * self.dropped + self.position
        for block in self.blocks:
            x = block(x)
        return self.out_proj(self.norm(x))


class CodebookAverages:
    """Moving averages of the vectors that chose each codebook row; the rows are their directions."""

    def __init__(self, quantizer: Quantizer, decay: float) -> None:
        self.rows = quantizer.embedding.weight
        self.decay = decay
        self.counts = torch.ones(len(self.rows))
        self.sums = self.rows.detach().clone()

    @torch.no_grad()
    def update(self, vectors: Tensor, codes: Tensor) -> None:
        """`vectors` [T, dim] are unit vectors, `codes` [T] the rows that they chose."""
        self.counts.mul_(self.decay).add_(torch.bincount(codes, minlength=len(self.rows)), alpha=1 - self.decay)
        self.sums.mul_(self.decay).index_add_(0, codes, vectors, alpha=1 - self.decay)
        self.rows.copy_(F.normalize(self.sums, dim=-1))

    @torch.no_grad()
    def revive(self, vectors: Tensor, generator: torch.Generator) -> int:
        """Moves rows that get less than a tenth of an even share onto drawn `vectors` [T, dim]; returns how many."""
        dead = (self.counts < 0.1 * self.counts.mean()).nonzero().flatten()
        drawn = vectors[torch.randint(len(vectors), (len(dead),), generator=generator)]
        self.counts[dead] = self.counts.mean()
        self.sums[dead] = drawn * self.counts.mean()
        self.rows[dead] = drawn
        return len(dead)


@torch.no_grad()
def spherical_kmeans(vectors: Tensor, clusters: int, rounds: int, generator: torch.Generator) -> Tensor:
    """Unit vectors [T, dim], T >= clusters -> unit centres [clusters, dim]; an empty one restarts on a vector."""
    centres = vectors[torch.randperm(len(vectors), generator=generator)[:clusters]].clone()
    for _ in range(rounds):
        nearest = (vectors @ centres.T).argmax(dim=1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, vectors)
        empty = (torch.bincount(nearest, minlength=clusters) == 0).nonzero().flatten()
        sums[empty] = vectors[torch.randint(len(vectors), (len(empty),), generator=generator)]
        centres = F.normalize(sums, dim=-1)
    return centres


def sample_policy(log_probs: Tensor, generator: torch.Generator) -> Tensor:
    """Gumbel straight-through [B, N]: 0 or 1 forward, the soft sample's gradient backward."""
    soft = (log_probs + gumbel_noise(tuple(log_probs.shape), generator, log_probs.device)).softmax(dim=-1)[..., 0]
    return (soft >= 0.5).float() - soft.detach() + soft


def start_weights(model: VisualTokenizer, keep_ratio: float) -> None:
    """A merger that passes its features through, so that codes start as single patches, and an even selector."""
    bias = model.token_predictor.get_parameter("out_conv.4.bias")
    with torch.no_grad():
        bias.copy_(torch.tensor([keep_ratio, 1 - keep_ratio]).log())
    for module in model.causal_encoder.modules():
        if isinstance(module, (MaskedAttention, Mlp)):
            last = module.fc2 if isinstance(module, Mlp) else module.proj
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)


class TokenizerTrainer:
    """Both stages over precomputed features of the frozen encoder, [pictures, N, width] in any float type.

    `head` turns features into what the codes must preserve, [..., width] -> [..., target_dim]: CLIP's own head leaves
    what words can say of a patch.
    """

    def __init__(
        self, model: VisualTokenizer, head: nn.Module, features: Tensor, settings: TokenizerTraining, seed: int
    ) -> None:
        self.model = model
        self.head = head.requires_grad_(False)
        self.features = features
        self.settings = settings
        self.generator = torch.Generator().manual_seed(seed)
        targets = head(self.draw(min(2000, len(features)))).flatten(0, 1)
        self.mean, self.std = targets.mean(dim=0), targets.std(dim=0)
        self.decoder = FeatureDecoder(model.config, targets.shape[1])

    def draw(self, count: int) -> Tensor:
        return self.features[torch.randint(len(self.features), (count,), generator=self.generator)].float()

    def vectors(self, features: Tensor, policy: Tensor) -> Tensor:
        """Unit vectors [B, N, codebook_dim] that the codebook is searched with."""
        return F.normalize(self.model.encode_task_layer(self.model.causal_encoder(features, policy)), dim=-1)

    def cosine(self, features: Tensor, vectors: Tensor, policy: Tensor) -> Tensor:
        """Mean cosine of rebuilt and true targets, which are standardised: their average would be easy to rebuild."""
        targets = (self.head(features) - self.mean) / self.std
        return F.cosine_similarity(self.decoder(vectors, policy), targets, dim=-1).mean()

    def train(self, report: Report) -> None:
        start_weights(self.model, self.settings.keep_ratio)
        self.continuous_stage(report)
        self.start_codebook()
        self.quantized_stage(report)

    def continuous_stage(self, report: Report) -> None:
        """Selector and merger, without the quantizer."""
        settings, model = self.settings, self.model
        modules = (model.token_predictor, model.causal_encoder, model.encode_task_layer, self.decoder)
        step = Stepper(modules, settings.learning_rate, settings.continuous_steps)
        for index in range(settings.continuous_steps):
            features = self.draw(settings.batch_size)
            log_probs = model.token_predictor(features)
            policy = sample_policy(log_probs, self.generator)
            cosine = self.cosine(features, self.vectors(features, policy), policy)
            kept = policy.mean()
            step(1 - cosine + settings.keep_weight * (kept - settings.keep_ratio).square())
            report("continuous", index, {"cosine": cosine.item(), "kept": kept.item()})

    @torch.no_grad()
    def start_codebook(self) -> None:
        features = self.draw(max(500, 40 * self.model.config.codebook_size // self.model.config.patches))
        policy = sample_policy(self.model.token_predictor(features), self.generator)
        vectors = self.vectors(features, policy)[policy.bool()]
        rows = spherical_kmeans(vectors, self.model.config.codebook_size, 10, self.generator)
        self.model.quantize.embedding.weight.copy_(rows)

    def quantized_stage(self, report: Report) -> None:
        """Merger and codebook through the quantizer, the selector frozen."""
        settings, model = self.settings, self.model
        averages = CodebookAverages(model.quantize, settings.codebook_decay)
        modules = (model.causal_encoder, model.encode_task_layer, self.decoder)
        step = Stepper(modules, settings.learning_rate, settings.quantized_steps)
        for index in range(settings.quantized_steps):
            features = self.draw(settings.batch_size)
            with torch.no_grad():
                policy = sample_policy(model.token_predictor(features), self.generator)
            kept = policy.bool()
            vectors = self.vectors(features, policy)
            codes = model.quantize.nearest(vectors.detach().flatten(0, 1)).view(kept.shape)
            rows = model.quantize.embedding.weight.detach()[codes]
            # straight-through: the decoder reads codebook rows, the gradient goes to the vectors
            cosine = self.cosine(features, vectors + (rows - vectors).detach(), policy)
            distance = (vectors - rows).square().sum(dim=-1)[kept].mean()
            step(1 - cosine + settings.commitment_weight * distance)
            averages.update(vectors.detach()[kept], codes[kept])
            revived = 0
            if index % settings.revive_every == 0 and index < 0.8 * settings.quantized_steps:
                revived = averages.revive(vectors.detach()[kept], self.generator)
            report("quantized", index, {"cosine": cosine.item(), "distance": distance.item(), "revived": revived})

    @torch.no_grad()
    def evaluate(self, features: Tensor, generator: torch.Generator) -> tuple[float, list[Tensor]]:
        """Mean cosine of what sampled codes rebuild of features [pictures, N, width], and each picture's codes."""
        total, codes = 0.0, []
        for chunk in features.split(self.settings.batch_size):
            batch = chunk.float()
            policy = sample_policy(self.model.token_predictor(batch), generator)
            vectors = self.vectors(batch, policy)
            rows, found = self.model.quantize(vectors.flatten(0, 1))
            total += self.cosine(batch, rows.view_as(vectors), policy).item() * len(batch)
            kept = policy.bool()
            codes += found.view(kept.shape)[kept].split(kept.sum(dim=1).tolist())
        return total / len(features), codes


class Stepper:
    """AdamW with warm-up and cosine over the parameters of some modules."""

    def __init__(self, modules: tuple[nn.Module, ...], learning_rate: float, steps: int) -> None:
        self.parameters = [p for module in modules for p in module.parameters()]
        self.optimizer = torch.optim.AdamW(self.parameters, learning_rate, weight_decay=0.01)

        def factor(step: int) -> float:
            return min(1.0, (step + 1) / 50) * (0.55 + 0.45 * math.cos(math.pi * step / steps))

        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, factor)

    def __call__(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.schedule.step()
