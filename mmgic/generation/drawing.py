"""Drawing from text: a Llama with the extended VL vocabulary writes an image's codes, the pixel decoder draws them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import DynamicCache, PreTrainedConfig, PreTrainedModel

from mmgic.errors import InputError
from mmgic.model.vocabulary import VLVocabulary
from mmgic.schema import record_generator
from mmgic.stages.progress import counted
from mmgic.vision.pixels.pixel_decoder import PixelDecoder


@dataclass(frozen=True)
class ImageSampling:
    """LaVIT's settings for text to image; for prompts that hold images it raises `guidance` to 5."""

    guidance: float = 4.0
    top_k: int = 50
    top_p: float = 1.0
    temperature: float = 1.0
    min_codes: int = 20
    max_codes: int = 200


def start_ids(config: PreTrainedConfig, vocabulary: VLVocabulary, bos_token_id: int | None) -> list[int]:
    """What comes before a prompt's text: the text tokenizer's BOS, if it has one; nothing for LaVIT, whose config has
    [IMG] in its place and which was trained without one."""
    return [] if bos_token_id is None or config.bos_token_id == vocabulary.img else [bos_token_id]


def codes_from_ids(ids: Sequence[int], vocabulary: VLVocabulary) -> list[int]:
    """The codes of an image's token ids, [IMG] and [/IMG] around them or not. Raises InputError for any other id."""
    inner = list(ids)
    if inner[:1] == [vocabulary.img]:
        inner = inner[1:]
    if inner[-1:] == [vocabulary.end_img]:
        inner = inner[:-1]
    for position, token in enumerate(inner):
        if not vocabulary.first_code <= token < vocabulary.size:
            kind = "a text token" if 0 <= token < vocabulary.text_size else "no visual code"
            raise InputError(
                f"id {token}, number {position} of the image, is {kind}; "
                f"visual codes are {vocabulary.first_code} to {vocabulary.size - 1}"
            )
    return [vocabulary.id_to_code(token) for token in inner]


@torch.inference_mode()
def generate_codes(
    model: PreTrainedModel,
    vocabulary: VLVocabulary,
    prompt: Sequence[int],
    sampling: ImageSampling,
    seed: int = 0,
    name: str = "",
) -> list[int]:
    """Samples the codes of one image after `prompt`, token ids without the closing [IMG].

    Guidance acts on log-probabilities, u + guidance * (c - u), where u comes from a context of [IMG] and the codes so
    far alone. Then come the least number of codes, the visual ids alone, temperature, top-k and top-p. Draws belong to
    `seed` and `name`. Raises InputError if the model has another vocabulary or too few positions.
    """
    if model.config.vocab_size != vocabulary.size:
        raise InputError(
            f"the model has {model.config.vocab_size} token ids instead of {vocabulary.size}; use the visual tokenizer "
            "that it was trained with"
        )
    if not math.isfinite(sampling.guidance):
        raise InputError(f"the guidance of the model's codes is {sampling.guidance}; it takes a number")
    if len(prompt) + 1 + sampling.max_codes > model.config.max_position_embeddings:
        raise InputError(
            f"a prompt of {len(prompt)} tokens and {sampling.max_codes} codes exceed the model's "
            f"{model.config.max_position_embeddings} positions"
        )
    generator = record_generator(seed, "generate", "", name)
    contexts = [Context(model, [*prompt, vocabulary.img]), Context(model, [vocabulary.img])]
    codes: list[int] = []
    with counted("writing", sampling.max_codes, "codes") as advance:  # an image may end before them
        while len(codes) < sampling.max_codes:
            with_prompt, without = (context.log_probs for context in contexts)
            scores = without + sampling.guidance * (with_prompt - without)
            allowed = scores[vocabulary.first_code :]
            if len(codes) >= sampling.min_codes:
                allowed = torch.cat((allowed, scores[vocabulary.end_img, None]))
            chosen = draw(allowed, sampling, generator)
            if chosen == vocabulary.num_codes:  # the place of [/IMG]
                break
            codes.append(chosen)
            advance(1)
            for context in contexts:
                context.extend([vocabulary.code_to_id(chosen)])
    return codes


class Context:
    """A growing sequence of token ids and `log_probs` float32 [vocabulary] of what follows it."""

    def __init__(self, model: PreTrainedModel, ids: Sequence[int]) -> None:
        self.model: Any = model
        self.cache = DynamicCache(config=model.config)
        self.extend(ids)

    def extend(self, ids: Sequence[int]) -> None:
        inputs = torch.tensor([list(ids)], device=self.model.device)
        output = self.model(inputs, past_key_values=self.cache, use_cache=True, logits_to_keep=1)
        self.log_probs: Tensor = output.logits[0, -1].float().log_softmax(dim=-1)


def draw(scores: Tensor, sampling: ImageSampling, generator: np.random.Generator) -> int:
    """One index of `scores` [N], sampled after temperature, top-k and top-p."""
    values, order = (scores / sampling.temperature).sort(descending=True)
    probabilities = values[: sampling.top_k].double().softmax(dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities
    probabilities = torch.where(before < sampling.top_p, probabilities, 0)
    cumulated = probabilities.cumsum(dim=-1).cpu().numpy()
    return int(order[int(np.searchsorted(cumulated, generator.random() * cumulated[-1], side="right"))])


def draw_image(
    model: PreTrainedModel,
    vocabulary: VLVocabulary,
    pixels: PixelDecoder,
    prompt: Sequence[int],
    sampling: ImageSampling | None = None,
    seed: int = 0,
    **options: Any,
) -> Image.Image:
    """The picture that `prompt` (token ids) asks for; `options` are those of `PixelDecoder.detokenize`."""
    if len(pixels.codebook) != vocabulary.num_codes:
        raise InputError(f"the pixel decoder reads {len(pixels.codebook)} codes, the model {vocabulary.num_codes}")
    codes = generate_codes(model, vocabulary, prompt, sampling or default_sampling(pixels), seed)
    return pixels.detokenize([codes], seed=seed, **options)[0]


def default_sampling(pixels: PixelDecoder) -> ImageSampling:
    """LaVIT's 20 to 200 codes, or the same shares of a smaller image's patches."""
    patches = pixels.config.decoder.patches
    return ImageSampling(min_codes=min(20, patches * 20 // 256), max_codes=min(200, patches * 200 // 256))
