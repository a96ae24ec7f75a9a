"""A small CLIP that makes the toy world's image encoder: images beside captions, and their parts beside phrases.

The second pairing (features pooled over a thing's box, and those of one patch in it, against its phrase) is what makes
single patch features speak of the thing they lie on, as those of a CLIP trained on hundreds of millions of pairs do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from mmgic.settings.fields import Group, number, path
from mmgic.toy.models.making import StepPrinter
from mmgic.toy.models.pairs import make_pictures
from mmgic.toy.world.scenes import Split, Thing
from mmgic.toy.world.text import noun_phrase
from mmgic.toy.world.words import CATEGORIES, COLOURS
from mmgic.vision.folders import WEIGHTS_FILE, read_weights, save_config
from mmgic.vision.network.config import VisionConfig
from mmgic.vision.network.encoder import NORM_EPS, Encoder
from mmgic.vision.preprocess import normalise

ENDS = ("norm.", "head.")  # of the image encoder; not part of a visual tokenizer
WORLD_SEED = 100  # not the demo's world

TOY_VISION = VisionConfig(
    image_size=64,
    patch_size=8,
    width=128,
    depth=5,
    num_heads=4,
    mlp_hidden=384,
    merger_depth=2,
    merger_heads=4,
    codebook_size=512,
    codebook_dim=16,
)


@dataclass(frozen=True)
class ClipRun(Group):
    """What is trained and how."""

    start: str = path()  # folder of an earlier run, whose image encoder goes on training
    scenes: int = number(8000, 1)
    steps: int = number(1200, 1)
    batch: int = number(64, 1)
    learning_rate: float = number(1e-3, 0)
    seed: int = number(0, 0)


def make_clip(run: ClipRun, output: Path) -> dict[str, object]:
    """Leaves the image encoder with its norm and head under EVA-CLIP's names; the scores are `zero_shot`'s."""
    torch.manual_seed(run.seed)
    pairs, _ = make_pairs("train", run.scenes)
    words = sorted({word for text in (*pairs.captions, *pairs.phrases) for word in split_words(text)})
    model = ToyClip(TOY_VISION, words)
    if run.start:
        model.load_state_dict(load_tower(Path(run.start)), strict=False)
    print(f"{len(pairs.pixels)} pictures, {len(pairs.phrases)} phrases, {len(words)} words", flush=True)
    train_clip(
        model,
        pairs,
        steps=run.steps,
        batch=run.batch,
        lr=run.learning_rate,
        seed=run.seed,
        report=StepPrinter(50, run.steps, "loss"),
    )
    save_tower(model.eval(), output)
    save_config(TOY_VISION, output)
    return {"zero_shot": zero_shot(model, *make_pairs("eval", 300))}


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


class ToyClip(nn.Module):
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
    model: ToyClip, pairs: Pairs, *, steps: int, batch: int, lr: float, seed: int, report: Callable[[int, float], None]
) -> None:
    """AdamW with warm-up and cosine; `report(step, loss)` is called after every step, the first being 1."""
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
        report(step + 1, loss.item())


def make_pairs(split: Split, scenes: int) -> tuple[Pairs, list[Thing]]:
    """Scenes and crops with captions and phrases, and the thing behind each phrase."""
    pictures = list(make_pictures(WORLD_SEED, split, scenes, TOY_VISION.image_size))
    things = [thing for picture in pictures for thing in picture.things]
    return Pairs(
        pixels=torch.stack([picture.pixels for picture in pictures]),
        captions=[picture.caption for picture in pictures],
        boxes=torch.tensor([box for picture in pictures for box in picture.boxes]),
        phrases=[noun_phrase(thing, details=True) for thing in things],
        owners=torch.tensor([i for i, picture in enumerate(pictures) for _ in picture.things]),
    ), things


@torch.inference_mode()
def zero_shot(model: ToyClip, pairs: Pairs, things: list[Thing]) -> dict[str, float]:
    """Share of boxes whose category, colour and both are those of the nearest of all plain phrases."""
    options = [Thing(category, colour) for category in CATEGORIES for colour in COLOURS]
    texts = model.text_embeddings([noun_phrase(option, details=False) for option in options])
    parts, _ = model.box_embeddings(model.image_embeddings(normalise(pairs.pixels)), pairs.boxes, pairs.owners)
    found = [options[i] for i in (parts @ texts.T).argmax(dim=1).tolist()]
    both = list(zip(found, things, strict=True))
    right = {
        "category": [a.category == b.category for a, b in both],
        "colour": [a.colour == b.colour for a, b in both],
        "both": [(a.category, a.colour) == (b.category, b.colour) for a, b in both],
    }
    return {name: round(sum(hits) / len(hits), 4) for name, hits in right.items()}


def save_tower(model: ToyClip, folder: Path) -> None:
    """Image encoder, norm and head under EVA-CLIP's names; the text encoder is of no further use."""
    ends = {k: v for k, v in model.state_dict().items() if k.startswith(ENDS)}
    save_file(model.encoder.state_dict() | ends, folder / WEIGHTS_FILE)


def load_tower(folder: Path) -> dict[str, Tensor]:
    """What `save_tower` wrote, under the names of a ToyClip."""
    weights = read_weights(folder / WEIGHTS_FILE)
    return {k if k.startswith(ENDS) else f"encoder.{k}": v for k, v in weights.items()}
