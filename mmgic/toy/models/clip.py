"""A small CLIP that makes the toy world's image encoder: images beside captions, and their parts beside phrases.

The second pairing (features pooled over a thing's box, and those of one patch in it, against its phrase) is what makes
single patch features speak of the thing they lie on, as those of a CLIP trained on hundreds of millions of pairs do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgic.vision.network.config import VisionConfig
from mmgic.vision.network.encoder import NORM_EPS, Encoder
from mmgic.vision.preprocess import normalise


@dataclass(frozen=True)
class Pairs:
    """Images with a caption each, and boxes in them with a phrase each."""

    pixels: Tensor  # uint8 [I, 3, S, S]
    captions: Sequence[str]  # I
    boxes: Tensor  # float32 [R, 4]: x, y, w, h as fractions of the image
    phrases: Sequence[str]  # R
    owners: Tensor  # int64 [R]: which image a box is in, ascending


class TextEncoder(nn.Module):
    """A transformer over whole words, pooled by the mean."""

    def __init__(self, words: Sequence[str], width: int, depth: int, longest: int) -> None:
        super().__init__()
        self.ids = {word: i + 1 for i, word in enumerate(words)}
        self.longest = longest
        self.word = nn.Embedding(len(words) + 1, width, padding_idx=0)
        self.position = nn.Parameter(0.02 * torch.randn(longest, width))
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, depth, nn.LayerNorm(width), enable_nested_tensor=False)

    def forward(self, texts: Sequence[str]) -> Tensor:
        """T texts -> [T, width]. Raises KeyError for a word that the encoder was not made with."""
        rows = [torch.tensor([self.ids[word] for word in split_words(text)][: self.longest]) for text in texts]
        ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        present = ids > 0
        x = self.layers(self.word(ids) + self.position[: ids.shape[1]], src_key_padding_mask=~present)
        return (x * present[..., None]).sum(dim=1) / present.sum(dim=1, keepdim=True)


def split_words(text: str) -> list[str]:
    return text.lower().replace(",", " ").replace(".", " ").split()


class Clip(nn.Module):
    """Image encoder with EVA-CLIP's norm and head, text encoder, and the learned temperature."""

    def __init__(self, config: VisionConfig, words: Sequence[str], dim: int = 128, longest: int = 64) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.head = nn.Linear(config.width, dim)
        self.text = TextEncoder(words, dim, depth=2, longest=longest)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.grid = config.grid

    def image_embeddings(self, pixels: Tensor) -> Tensor:
        """Unit vectors of the images and their patches, [I, 1 + patches, dim]."""
        return F.normalize(self.head(self.norm(self.encoder(pixels))), dim=-1)

    def box_embeddings(self, embedded: Tensor, boxes: Tensor, owners: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors [R, dim] of each box in `image_embeddings`: the mean of its patches, and one drawn from them."""
        shares = patch_shares(boxes, self.grid)
        inside = embedded[owners, 1:]
        pooled = F.normalize(torch.bmm(shares[:, None], inside)[:, 0], dim=-1)
        single = inside[torch.arange(len(boxes)), torch.multinomial(shares, 1)[:, 0]]
        return pooled, single

    def text_embeddings(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [T, dim]."""
        return F.normalize(self.text(texts), dim=-1)

    def loss(
        self, pixels: Tensor, captions: Sequence[str], boxes: Tensor, phrases: Sequence[str], owners: Tensor
    ) -> Tensor:
        """Mean of the contrastive losses of images with captions, and of boxes and patches in them with phrases."""
        texts = list(dict.fromkeys([*captions, *phrases]))
        index = {text: i for i, text in enumerate(texts)}
        embedded = self.image_embeddings(pixels)
        parts = torch.cat(self.box_embeddings(embedded, boxes, owners))
        scaled = self.log_scale.clamp(max=math.log(100.0)).exp() * self.text_embeddings(texts).T
        losses = [
            contrastive_loss(seen @ scaled, torch.tensor([index[text] for text in said]))
            for seen, said in ((embedded[:, 0], captions), (parts, [*phrases, *phrases]))
        ]
        return torch.stack(losses).mean()


def patch_shares(boxes: Tensor, grid: int) -> Tensor:
    """Boxes [R, 4] -> [R, grid * grid]: the share of each box that lies on each patch."""
    edges = torch.arange(grid + 1, device=boxes.device) / grid

    def overlap(start: Tensor, length: Tensor) -> Tensor:
        end = torch.minimum((start + length)[:, None], edges[1:])
        return (end - torch.maximum(start[:, None], edges[:-1])).clamp(min=0)

    x, y, w, h = boxes.unbind(dim=1)
    shares = (overlap(y, h)[:, :, None] * overlap(x, w)[:, None, :]).flatten(1)
    return shares / shares.sum(dim=1, keepdim=True)


def contrastive_loss(logits: Tensor, target: Tensor) -> Tensor:
    """CLIP's symmetric loss of [A, T]: row i's text is `target[i]`, which several rows may share."""
    to_text = F.cross_entropy(logits, target)
    to_seen = -logits.log_softmax(dim=0)[torch.arange(len(target)), target]
    return (to_text + to_seen.mean()) / 2


def train_clip(
    model: Clip, pairs: Pairs, *, steps: int, batch: int, lr: float, seed: int, report: Callable[[int, float], None]
) -> None:
    """AdamW with warm-up and cosine; `report(step, loss)` is called at every step."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr, weight_decay=0.05, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.1)
    starts = torch.searchsorted(pairs.owners, torch.arange(len(pairs.pixels) + 1))
    for step in range(steps):
        chosen = torch.randint(len(pairs.pixels), (batch,), generator=generator)
        rows = [torch.arange(int(starts[i]), int(starts[i + 1])) for i in chosen]
        owners = torch.repeat_interleave(torch.arange(batch), torch.tensor([len(r) for r in rows]))
        boxes = torch.cat(rows)
        loss = model.loss(
            normalise(pairs.pixels[chosen]),
            [pairs.captions[i] for i in chosen],
            pairs.boxes[boxes],
            [pairs.phrases[i] for i in boxes],
            owners,
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        report(step, loss.item())
