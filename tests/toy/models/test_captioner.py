"""The toy BLIP-2 and the toy CLIP that ranks: how they begin, and what the shipped ones can do."""

import json

import numpy as np
import torch
import torch.nn.functional as F
from transformers import Blip2ForConditionalGeneration, Blip2Processor, CLIPModel, CLIPProcessor

from mmgic.presets import TOY_WEIGHTS
from mmgic.toy.models.captioner import CaptionerRun, captioned_pictures, make_captioner, make_processor
from mmgic.toy.models.clip_ranker import image_embeddings, text_embeddings, with_one_mistake
from mmgic.vision.folders import load_config, read_weights
from mmgic.vision.network.encoder import NORM_EPS, Encoder
from mmgic.vision.preprocess import normalise

CLIP = TOY_WEIGHTS / "clip"
WORLD = 7  # neither the presets' nor the one that the weights were trained on


def test_image_encoder_is_the_toy_clips():
    run = CaptionerRun(scenes=4)
    pictures = captioned_pictures(WORLD, "train", run.scenes, 64, crops=True)
    model = make_captioner(run, make_processor(run, [c for said in pictures.captions for c in said], 64), CLIP).eval()
    config = load_config(CLIP)
    weights = {name: value.float() for name, value in read_weights(CLIP / "model.safetensors").items()}
    encoder = Encoder(config)
    encoder.load_state_dict({k: v for k, v in weights.items() if not k.startswith(("norm.", "head."))})
    pixels = normalise(pictures.pixels)
    with torch.inference_mode():
        expected = F.layer_norm(
            encoder(pixels), (config.width,), weights["norm.weight"], weights["norm.bias"], NORM_EPS
        )
        assert torch.allclose(model.vision_model(pixels).last_hidden_state, expected, atol=1e-4)
    assert not any(p.requires_grad for p in model.vision_model.parameters())


def test_a_mistake_is_one_word():
    rng = np.random.default_rng(0)
    for said in captioned_pictures(WORLD, "train", 40, 8, crops=False).captions:
        for caption in said:
            right, wrong = caption.lower().split(), with_one_mistake(caption, rng).lower().split()
            changed = [(a, b) for a, b in zip(right, wrong, strict=True) if a != b and {a, b} != {"a", "an"}]
            assert len(changed) == 1, (caption, changed)


def test_shipped_captioner_tells_what_is_there():
    folder = TOY_WEIGHTS / "blip2"
    model = Blip2ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    processor = Blip2Processor.from_pretrained(folder, local_files_only=True)
    pictures = captioned_pictures(WORLD, "eval", 60, 64, crops=False)
    ids = model.generate(normalise(pictures.pixels), max_new_tokens=40, do_sample=False)
    said = [set(text.lower().rstrip(".").split()) for text in processor.batch_decode(ids, skip_special_tokens=True)]
    true = [set(wordings[0].lower().rstrip(".").split()) for wordings in pictures.captions]

    def shared(shift: int) -> float:
        return sum(len(a & b) / len(b) for a, b in zip(said, true[shift:] + true[:shift], strict=True)) / len(said)

    assert shared(0) > shared(1) + 0.15  # its own scene's words rather than the next one's
    assert json.loads((folder / "metrics.json").read_text())["greedy_cider_on_unseen_scenes"] > 0.5


def test_shipped_ranker_prefers_the_truth():
    folder = TOY_WEIGHTS / "clip_ranker"
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    tokenizer = CLIPProcessor.from_pretrained(folder, local_files_only=True).tokenizer
    pictures = captioned_pictures(WORLD, "eval", 120, 64, crops=False)
    right = [wordings[0] for wordings in pictures.captions]
    rng = np.random.default_rng(0)
    wrong = [with_one_mistake(caption, rng) for caption in right]
    with torch.inference_mode():
        images = image_embeddings(model, pictures.pixels)
        true, false = (text_embeddings(model, tokenizer, texts) for texts in (right, wrong))
    assert ((images * true).sum(dim=1) > (images * false).sum(dim=1)).float().mean() > 0.7
    assert ((images @ true.T).argmax(dim=1) == torch.arange(len(right))).float().mean() > 0.3
