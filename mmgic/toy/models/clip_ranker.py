"""The toy world's `CLIPModel` that ranks captions: whole pictures beside their captions and beside almost right ones.

The captions of this world differ in single words. Each picture is therefore also contrasted with a caption of its own
in which one word was exchanged, as a CLIP trained on hundreds of millions of pairs meets near misses in its batches.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import normalizers, processors
from torch import Tensor, nn
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    CLIPTextConfig,
    CLIPVisionConfig,
    PreTrainedTokenizerFast,
)

from mmgic.schema import record_generator
from mmgic.settings.fields import Group, number
from mmgic.toy.models.captioner import CLIP, Captioned, captioned_pictures, save_half, train_caption_tokenizer
from mmgic.toy.models.making import StepPrinter
from mmgic.toy.world.text import with_article
from mmgic.toy.world.words import CATEGORIES, COLOURS
from mmgic.vision.folders import load_config, read_weights
from mmgic.vision.preprocess import normalise

START, END, PAD = "<|startoftext|>", "<|endoftext|>", "<pad>"


@dataclass(frozen=True)
class RankerRun(Group):
    """What is trained and how; the defaults are the packaged model's."""

    seed: int = number(100, 0)  # of the world; another one than the presets'
    scenes: int = number(4000, 0)
    vocabulary: int = number(448, 0)
    hidden: int = number(128, 0)
    layers: int = number(2, 0)
    vision_layers: int = number(2, 0)  # of the image encoder, from its end, that go on learning
    mlp_hidden: int = number(384, 0)
    positions: int = number(48, 0)
    steps: int = number(350, 1)
    batch: int = number(48, 0)
    learning_rate: float = number(1.5e-3, 0)


def make_clip_ranker(run: RankerRun, output: Path) -> dict[str, object]:
    """Leaves a Hugging Face CLIP folder with its processor; the scores are `retrieval`'s."""
    size = load_config(CLIP).image_size
    pictures = captioned_pictures(run.seed, "train", run.scenes, size, crops=True)
    processor = make_processor(run, [text for wordings in pictures.captions for text in wordings], size)
    model = make_ranker(run, processor, CLIP)
    progress = StepPrinter(25, run.steps, "loss")
    train_ranker(run, model, processor.tokenizer, pictures, progress)
    save_half(model, processor, output)
    unseen = captioned_pictures(run.seed, "eval", 300, size, crops=False)
    return {"parameters": model.num_parameters(), **progress.means(), **retrieval(output, unseen, run.seed)}


def make_processor(run: RankerRun, texts: Sequence[str], size: int) -> CLIPProcessor:
    """The image processor and CLIP's kind of tokenizer: lower case, between a start and an end token."""
    tokenizer = train_caption_tokenizer(
        [text.lower() for text in texts], run.vocabulary, pad_token=PAD, eos_token=END, bos_token=START
    )
    backend = tokenizer.backend_tokenizer
    backend.normalizer = normalizers.Lowercase()
    backend.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}",
        special_tokens=[(token, tokenizer.convert_tokens_to_ids(token)) for token in (START, END)],
    )
    tokenizer.model_max_length = run.positions
    square = {"height": size, "width": size}
    # the toy image encoder has only seen squashed pictures
    return CLIPProcessor(CLIPImageProcessor(size=square, do_center_crop=False), tokenizer)


def make_ranker(run: RankerRun, processor: CLIPProcessor, clip: Path) -> CLIPModel:
    """A CLIPModel whose image encoder begins as that of the toy CLIP folder `clip`, and whose text encoder is new."""
    vision, tokenizer = load_config(clip), processor.tokenizer
    shared = {"hidden_act": "gelu", "projection_dim": run.hidden, "num_attention_heads": 4}
    config = CLIPConfig(
        text_config=CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=run.hidden,
            intermediate_size=run.mlp_hidden,
            num_hidden_layers=run.layers,
            max_position_embeddings=run.positions,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            **shared,
        ).to_dict(),
        vision_config=CLIPVisionConfig(
            hidden_size=vision.width,
            intermediate_size=vision.mlp_hidden,
            num_hidden_layers=vision.depth,
            image_size=vision.image_size,
            patch_size=vision.patch_size,
            layer_norm_eps=1e-6,
            **shared,
        ).to_dict(),
        projection_dim=run.hidden,
        logit_scale_init_value=3.4,  # training is too short to raise it from CLIP's 2.66 to where CLIP's ends
    )
    torch.manual_seed(run.seed)
    model = CLIPModel(config)
    start_vision(model, read_weights(clip / "model.safetensors"))
    return model


@torch.no_grad()
def start_vision(model: CLIPModel, eva: dict[str, Tensor]) -> None:
    """Copies EVA-CLIP's image encoder into the vision model, which differs by a norm before its first layer."""
    vision = model.vision_model
    embeddings = vision.embeddings
    # this convolution has no bias; every patch's position takes it over
    places = eva["pos_embed"][0].clone()
    places[1:] += eva["patch_embed.proj.bias"]
    embeddings.class_embedding.copy_(eva["cls_token"][0, 0])
    embeddings.position_embedding.weight.copy_(places)
    embeddings.patch_embedding.weight.copy_(eva["patch_embed.proj.weight"])
    # the layers expect the embeddings' own scale, which the norm would take away
    vision.pre_layrnorm.weight.fill_(embeddings(torch.zeros(1, 3, *[embeddings.image_size] * 2)).std(dim=-1).mean())
    parts = {"layer_norm1": "norm1", "layer_norm2": "norm2", "self_attn.out_proj": "attn.proj"}
    parts |= {"mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
    for block, layer in enumerate(vision.encoder.layers):
        old, weights = f"blocks.{block}", layer.state_dict()
        for part, kind in itertools.product(parts, ("weight", "bias")):
            weights[f"{part}.{kind}"] = eva[f"{old}.{parts[part]}.{kind}"]
        query, key, value = eva[f"{old}.attn.qkv.weight"].chunk(3)
        biases = eva[f"{old}.attn.q_bias"], torch.zeros_like(eva[f"{old}.attn.q_bias"]), eva[f"{old}.attn.v_bias"]
        for name, weight, bias in zip("qkv", (query, key, value), biases, strict=True):
            weights[f"self_attn.{name}_proj.weight"], weights[f"self_attn.{name}_proj.bias"] = weight, bias
        layer.load_state_dict(weights)
    vision.post_layernorm.weight.copy_(eva["norm.weight"])
    vision.post_layernorm.bias.copy_(eva["norm.bias"])
    model.visual_projection.weight.copy_(eva["head.weight"])


def with_one_mistake(caption: str, rng: np.random.Generator) -> str:
    """`caption` with one of its categories or colours exchanged for another one."""
    words = caption.split(" ")
    options: list[tuple[int, str, Sequence[str]]] = []
    for place, word in enumerate(words):
        name = word.strip(".,").lower()
        options += [(place, name, kinds) for kinds in (list(CATEGORIES), list(COLOURS)) if name in kinds]
    place, name, kinds = options[int(rng.integers(len(options)))]
    other = kinds[(kinds.index(name) + 1 + int(rng.integers(len(kinds) - 1))) % len(kinds)]
    words[place] = words[place].lower().replace(name, other)
    if place and words[place - 1].lower() in ("a", "an"):
        words[place - 1] = with_article(other).split()[0]
    return " ".join(words)


def text_embeddings(model: CLIPModel, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> Tensor:
    """Unit vectors [T, dim]."""
    inputs = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
    return F.normalize(model.get_text_features(**inputs).pooler_output, dim=-1)


def image_embeddings(model: CLIPModel, pixels: Tensor) -> Tensor:
    """uint8 [N, 3, S, S] -> unit vectors [N, dim]."""
    return F.normalize(model.get_image_features(normalise(pixels)).pooler_output, dim=-1)


def train_ranker(
    run: RankerRun,
    model: CLIPModel,
    tokenizer: PreTrainedTokenizerFast,
    pictures: Captioned,
    report: Callable[[int, float], None],
) -> None:
    """AdamW with warm-up and cosine; `report` gets (step, loss). CLIP's loss, with near misses among the texts.

    The image encoder's first layers stay as they are and are run once.
    """
    vision = model.vision_model
    learning = vision.encoder.layers[-run.vision_layers :]
    for part in (vision.embeddings, vision.pre_layrnorm, vision.encoder.layers[: -run.vision_layers]):
        part.requires_grad_(False)
    hidden = frozen_layers(model, pictures.pixels, run.vision_layers)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, run.learning_rate, weight_decay=0.05, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, run.learning_rate, total_steps=run.steps, pct_start=0.06)
    rng = record_generator(run.seed, "toy clip ranker", "", "")
    target = torch.arange(run.batch)
    model.train()
    for step in range(run.steps):
        chosen = rng.choice(len(pictures.captions), run.batch, replace=False)
        right = [str(rng.choice(pictures.captions[i])) for i in chosen]
        wrong = [with_one_mistake(text, rng) for text in right]
        with torch.autocast("cpu", torch.bfloat16):
            texts = text_embeddings(model, tokenizer, [*right, *wrong])
            seen = hidden[torch.from_numpy(chosen)].float()
            for layer in learning:
                seen = layer(seen, attention_mask=None)
            images = F.normalize(model.visual_projection(vision.post_layernorm(seen[:, 0])), dim=-1)
        scale = model.logit_scale.clamp(max=math.log(100.0)).exp()
        logits = scale * images.float() @ texts.float().T
        loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits[:, : run.batch].T, target)) / 2
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        report(step + 1, loss.item())
    model.eval()


@torch.inference_mode()
def frozen_layers(model: CLIPModel, pixels: Tensor, learning: int) -> Tensor:
    """uint8 [N, 3, S, S] -> float16 [N, 1 + patches, width], after all but the last `learning` layers."""
    vision = model.vision_model
    encoded = []
    for some in pixels.split(128):
        with torch.autocast("cpu", torch.bfloat16):
            hidden = vision.pre_layrnorm(vision.embeddings(normalise(some)))
            for layer in vision.encoder.layers[:-learning]:
                hidden = layer(hidden, attention_mask=None)
        encoded.append(hidden.half())
    return torch.cat(encoded)


@torch.inference_mode()
def retrieval(folder: Path, pictures: Captioned, seed: int) -> dict[str, Any]:
    """Scores of a saved model on pictures that it has not seen."""
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    tokenizer = CLIPProcessor.from_pretrained(folder, local_files_only=True).tokenizer
    rng = record_generator(seed, "toy clip ranker", "eval", "")
    right = [wordings[0] for wordings in pictures.captions]
    wrong = [with_one_mistake(caption, rng) for caption in right]
    images = image_embeddings(model, pictures.pixels)
    cosines = images @ text_embeddings(model, tokenizer, right).T
    of_right = cosines.diagonal()
    of_wrong = (images * text_embeddings(model, tokenizer, wrong)).sum(dim=1)
    of_others = cosines[~torch.eye(len(cosines), dtype=torch.bool)]
    found = cosines.argmax(dim=1) == torch.arange(len(cosines))

    def percentiles(values: Tensor) -> dict[str, float]:
        return {f"{share:.0%}": round(float(values.quantile(share)), 3) for share in (0.05, 0.25, 0.5, 0.75, 0.95)}

    return {
        "scenes": len(cosines),
        "image_to_text_top1": round(float(found.float().mean()), 3),
        "right_above_one_mistake": round(float((of_right > of_wrong).float().mean()), 3),
        "cosine_right": percentiles(of_right),
        "cosine_one_mistake": percentiles(of_wrong),
        "cosine_other_scene": percentiles(of_others),
    }
