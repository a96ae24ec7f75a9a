"""How a codebook is learned beside the gradient: a k-means start, moving averages, and new places for dead rows.

Every worker of a process group holds the same codebook and arrives at the same next one.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from mmgic.vision.network.quantizer import Quantizer

DEAD_SHARE = 0.1  # of an even share; a row that gets less is dead
_CHUNK = 8192  # vectors that are compared with all centres at once


def workers() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def summed(tensor: Tensor) -> Tensor:
    """The sum of a tensor over the workers, without a gradient."""
    total = tensor.detach().clone()
    if workers() > 1:
        dist.all_reduce(total)
    return total


def gathered(vectors: Tensor) -> Tensor:
    """The rows [T, dim] of all workers, T of any size, in the workers' order."""
    if workers() == 1:
        return vectors
    counts = [torch.zeros(1, dtype=torch.int64, device=vectors.device) for _ in range(workers())]
    dist.all_gather(counts, torch.tensor([len(vectors)], device=vectors.device))
    longest = int(torch.cat(counts).max())
    padded = [vectors.new_zeros(longest, vectors.shape[1]) for _ in counts]
    dist.all_gather(padded, F.pad(vectors, (0, 0, 0, longest - len(vectors))).contiguous())
    return torch.cat([rows[: int(count)] for rows, count in zip(padded, counts, strict=True)])


class CodebookAverages:
    """Moving averages of the vectors that chose each codebook row; the rows are their directions."""

    def __init__(self, quantizer: Quantizer, decay: float) -> None:
        self.rows = quantizer.embedding.weight
        self.decay = decay
        self.counts = torch.ones(len(self.rows), device=self.rows.device)
        self.sums = self.rows.detach().clone()

    def state(self) -> dict[str, Tensor]:
        return {"counts": self.counts, "sums": self.sums}

    @torch.no_grad()
    def restart(self, rows: Tensor) -> None:
        """Begins again with unit `rows` [codes, dim]."""
        self.rows.copy_(rows)
        self.sums.copy_(rows)
        self.counts.fill_(1)

    @torch.no_grad()
    def update(self, vectors: Tensor, codes: Tensor) -> Tensor:
        """`vectors` [T, dim] are this worker's unit vectors, `codes` [T] the rows that they chose. Returns how often
        each row was chosen by all workers, [codes]."""
        chosen = torch.bincount(codes, minlength=len(self.rows)).to(self.counts)
        total = summed(torch.cat((chosen[:, None], torch.zeros_like(self.sums).index_add_(0, codes, vectors)), dim=1))
        self.counts.mul_(self.decay).add_(total[:, 0], alpha=1 - self.decay)
        self.sums.mul_(self.decay).add_(total[:, 1:], alpha=1 - self.decay)
        self.rows.copy_(F.normalize(self.sums, dim=-1))
        return total[:, 0]

    @torch.no_grad()
    def revive(self, vectors: Tensor, generator: torch.Generator) -> int:
        """Moves dead rows onto `vectors` [T, dim] of any worker, drawn alike on all of them; returns how many."""
        vectors = gathered(vectors)
        dead = self.dead().nonzero().flatten()
        if len(dead) and len(vectors):
            drawn = vectors[torch.randint(len(vectors), (len(dead),), generator=generator).to(vectors.device)]
            mean = self.counts.mean()
            self.counts[dead] = mean
            self.sums[dead] = drawn * mean
            self.rows[dead] = drawn
        return len(dead)

    def dead(self) -> Tensor:
        """Which rows, bool [codes], get less than DEAD_SHARE of an even share."""
        return self.counts < DEAD_SHARE * self.counts.mean()

    def figures(self) -> dict[str, float]:
        """Share of rows that are not dead, and perplexity: the number of rows that even use would spread alike over."""
        share = self.counts / self.counts.sum()
        return {
            "codes_used": 1 - self.dead().float().mean().item(),
            "perplexity": torch.special.entr(share).sum().exp().item(),
        }


@torch.no_grad()
def spherical_kmeans(vectors: Tensor, clusters: int, rounds: int, generator: torch.Generator) -> Tensor:
    """Unit vectors [T, dim], T >= clusters -> unit centres [clusters, dim]; an empty one restarts on a vector."""
    device = vectors.device
    centres = vectors[torch.randperm(len(vectors), generator=generator)[:clusters].to(device)].clone()
    for _ in range(rounds):
        nearest = torch.cat([(chunk @ centres.T).argmax(dim=1) for chunk in vectors.split(_CHUNK)])
        sums = torch.zeros_like(centres).index_add_(0, nearest, vectors)
        empty = (torch.bincount(nearest, minlength=clusters) == 0).nonzero().flatten()
        sums[empty] = vectors[torch.randint(len(vectors), (len(empty),), generator=generator).to(device)]
        centres = F.normalize(sums, dim=-1)
    return centres
