"""The two frozen models: BLIP-2 proposes captions of an image, CLIP says how well each fits it.

Each runs on batches of one fixed size, the last one filled up. All products then have the same shape whatever the
images, and a caption does not depend on the images beside it (nor, through the rounding, on how many there are).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Blip2ForConditionalGeneration

from mmgic.captions.clip import load_clip
from mmgic.captions.images import normalised
from mmgic.captions.sampling import OwnNucleus
from mmgic.model.pretrained import check_folder, image_processor, load_model
from mmgic.model.text_tokenizer import load_text_tokenizer
from mmgic.settings import CaptionSettings


class Captioner:
    """Any BLIP-2 of Transformers, with a decoder-only language model (OPT) or with an encoder-decoder (T5)."""

    def __init__(self, settings: CaptionSettings, device: torch.device) -> None:
        folder, setting = settings.blip2, "captions.blip2"
        check_folder(folder, "blip-2", setting)
        self.settings = settings
        self.device = device
        self.processor = image_processor(folder, setting)
        self.tokenizer = load_text_tokenizer(folder, setting)
        dtype = getattr(torch, settings.dtype)
        self.model = load_model(Blip2ForConditionalGeneration, folder, dtype, setting).to(device)
        # a text begins with this token, where the language model has one
        self.start = self.model.config.text_config.bos_token_id

    @torch.inference_mode()
    def encode(self, pixels: np.ndarray) -> Tensor:
        """uint8 [N, 3, S, S] -> what the language model reads of each image, [N, queries, width]."""
        features = []
        for batch in _batches(torch.from_numpy(pixels), self.settings.images_per_batch):
            ready = normalised(batch.numpy(), self.processor, self.device).to(self.model.dtype)
            features.append(self.model.get_image_features(ready, return_dict=True).pooler_output)
        return torch.cat(features)[: len(pixels)]

    @torch.inference_mode()
    def propose(self, features: Tensor, uniforms: np.ndarray) -> list[list[str]]:
        """Captions of up to `images_per_batch` images, as many of each as it has rows of random numbers.

        `features` is [N, queries, width] of `encode`; `uniforms` float32 [N, candidates, max_new_tokens] in [0, 1).
        """
        number, candidates, steps = uniforms.shape
        (features,) = _batches(features, self.settings.images_per_batch)
        (draws,) = _batches(torch.from_numpy(uniforms).to(self.device), self.settings.images_per_batch)
        ids = self.model.language_model.generate(
            **self._read(features, candidates),
            logits_processor=[OwnNucleus(draws.flatten(0, 1), self.settings.top_p, self.settings.temperature)],
            do_sample=False,  # the processor has drawn already
            num_beams=1,
            max_new_tokens=steps,
        )
        texts = self.tokenizer.batch_decode(ids[: number * candidates], skip_special_tokens=True)
        captions = [" ".join(text.split()) for text in texts]
        return [captions[i : i + candidates] for i in range(0, len(captions), candidates)]

    def _read(self, features: Tensor, candidates: int) -> dict[str, object]:
        """The language model's state after an image, computed once and then repeated for each of its candidates."""
        language_model = self.model.language_model
        inputs = features
        if self.start is not None:
            start = torch.full((len(features), 1), self.start, device=self.device)
            inputs = torch.cat((features, self.model.get_input_embeddings()(start)), dim=1)
        mask = torch.ones(inputs.shape[:2], dtype=torch.long, device=self.device)
        several = mask.repeat_interleave(candidates, dim=0)
        if self.model.config.use_decoder_only_language_model:
            # all but the last position, which `generate` needs for the first token
            cache = language_model(inputs_embeds=inputs[:, :-1], use_cache=True, logits_to_keep=1).past_key_values
            cache.batch_repeat_interleave(candidates)
            embeds = inputs.repeat_interleave(candidates, dim=0)
            return {"inputs_embeds": embeds, "attention_mask": several, "past_key_values": cache}
        encoded = language_model.get_encoder()(inputs_embeds=inputs, attention_mask=mask, return_dict=True)
        encoded.last_hidden_state = encoded.last_hidden_state.repeat_interleave(candidates, dim=0)
        return {"encoder_outputs": encoded, "attention_mask": several}


class Ranker:
    """Any CLIP of Transformers or OpenCLIP."""

    def __init__(self, settings: CaptionSettings, device: torch.device) -> None:
        self.settings = settings
        self.device = device
        self.clip = load_clip(settings.clip, device)

    @torch.inference_mode()
    def encode(self, pixels: np.ndarray) -> Tensor:
        """uint8 [N, 3, S, S] -> unit vectors [N, dim]."""
        views = []
        for batch in _batches(torch.from_numpy(pixels), self.settings.images_per_batch):
            ready = normalised(batch.numpy(), self.clip.processor, self.device)
            views.append(F.normalize(self.clip.images(ready), dim=-1))
        return torch.cat(views)[: len(pixels)]

    @torch.inference_mode()
    def score(self, views: Tensor, captions: Sequence[Sequence[str]]) -> list[list[float]]:
        """The cosine of each image of `views` [N, dim] and each of its captions, N up to `images_per_batch`."""
        tokens = self.clip.tokens([caption for of_image in captions for caption in of_image])
        size = self.settings.images_per_batch * len(captions[0])
        filled = {name: next(_batches(values.to(self.device), size)) for name, values in tokens.items()}
        texts = F.normalize(self.clip.texts(**filled), dim=-1).unflatten(0, (-1, len(captions[0])))[: len(views)]
        cosines: list[list[float]] = (texts * views[:, None]).sum(dim=-1).tolist()
        return cosines


def _batches(rows: Tensor, size: int) -> Iterator[Tensor]:
    """`rows` in batches of exactly `size`; the last one is filled up with its last row."""
    for batch in rows.split(size):
        missing = size - len(batch)
        yield batch if not missing else torch.cat((batch, batch[-1:].expand(missing, *batch.shape[1:])))
