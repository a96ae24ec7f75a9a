"""BLIP-2 and CLIP folders: equal to what Transformers itself makes of them, or refused with a sentence."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    CLIPModel,
    CLIPProcessor,
    T5Config,
)

from mmgic.captions.images import ReadImage
from mmgic.captions.models import Captioner, Ranker
from mmgic.errors import InputError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pixels(toy_captions, rows):
    read = ReadImage(toy_captions(), "caption")
    return [read(row) for row in rows]


@pytest.fixture(scope="module")
def t5_folder(toy_captions, tmp_path_factory) -> Path:
    """A BLIP-2 with an encoder-decoder language model and random weights, beside the toy model's processor."""
    folder = tmp_path_factory.mktemp("t5")
    toy = toy_captions().blip2
    processor = Blip2Processor.from_pretrained(toy, local_files_only=True)
    config = Blip2Config(
        vision_config=Blip2VisionConfig(
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=64,
            patch_size=16,
            initializer_range=0.1,
        ),
        qformer_config=Blip2QFormerConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, vocab_size=1
        ),
        text_config=T5Config(
            vocab_size=len(processor.tokenizer),
            d_model=32,
            d_kv=16,
            d_ff=32,
            num_layers=1,
            num_heads=2,
            bos_token_id=processor.tokenizer.bos_token_id,
            eos_token_id=processor.tokenizer.eos_token_id,
            pad_token_id=processor.tokenizer.pad_token_id,
            decoder_start_token_id=processor.tokenizer.pad_token_id,
        ),
        num_query_tokens=16,
        image_token_index=processor.tokenizer.convert_tokens_to_ids("<image>"),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Blip2ForConditionalGeneration(config)
        torch.nn.init.normal_(model.query_tokens)
    with torch.no_grad():
        model.language_model.shared.weight[0] = 0  # the start token would repeat itself for ever
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["opt", "t5"])
def test_the_likeliest_captions_are_those_of_the_library(kind, toy_captions, pixels, images, request):
    """With random numbers of 0 every draw is the likeliest token: greedy decoding, which `generate` knows itself."""
    folder = str(request.getfixturevalue("t5_folder")) if kind == "t5" else toy_captions().blip2
    captioner = Captioner(toy_captions(blip2=folder), CPU)
    features = captioner.encode(np.stack([p.blip2 for p in pixels]))
    ours = [captioner.propose(features[i : i + 3], np.zeros((3, 2, 24), np.float32)) for i in (0, 3)]

    model = Blip2ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    processor = Blip2Processor.from_pretrained(folder, local_files_only=True)
    inputs = processor(images=[Image.open(path) for path in images[:6]], return_tensors="pt")
    ids = model.generate(**inputs, max_new_tokens=24, do_sample=False)
    expected = [" ".join(text.split()) for text in processor.tokenizer.batch_decode(ids, skip_special_tokens=True)]
    assert [captions for part in ours for captions in part] == [[caption] * 2 for caption in expected]
    assert all(expected)


def test_scores_are_cosines_of_the_library(toy_captions, pixels, images):
    ranker = Ranker(toy_captions(), CPU)
    captions = [["A red ball on a table.", "a cat"], ["There is a green tree in a park.", "a dog and a red kite"]]
    ours = ranker.score(ranker.encode(np.stack([p.clip for p in pixels[:2]])), captions)

    model = CLIPModel.from_pretrained(toy_captions().clip, dtype=torch.float32, local_files_only=True).eval()
    processor = CLIPProcessor.from_pretrained(toy_captions().clip, local_files_only=True)
    for path, texts, scores in zip(images[:2], captions, ours, strict=True):
        inputs = processor(images=[Image.open(path)], text=texts, padding=True, return_tensors="pt")
        with torch.inference_mode():
            expected = model(**inputs).logits_per_image[0] / model.logit_scale.exp()
        assert scores == pytest.approx(expected.tolist(), abs=1e-5)


def test_bfloat16_models_run(toy_captions, pixels):
    captioner = Captioner(toy_captions(dtype="bfloat16"), CPU)
    features = captioner.encode(pixels[0].blip2[None])
    assert features.dtype == torch.bfloat16
    captions = captioner.propose(features, np.full((1, 3, 16), 0.5, np.float32))
    assert len(captions) == 1
    assert len(captions[0]) == 3
    assert all(captions[0])


def broken(folder: Path, how: str) -> None:
    if how == "empty":
        shutil.rmtree(folder)
        folder.mkdir()
    elif how == "pickled":
        torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    elif how == "damaged":
        (folder / "model.safetensors").write_bytes(b"no weights")
    elif how == "lacking":
        weights = load_file(folder / "model.safetensors")
        del weights["query_tokens"]
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    elif how == "no tokenizer":
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).unlink()


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("empty", "without a readable config.json"),
        ("pickled", "holds no .safetensors file"),
        ("damaged", "model.safetensors is damaged"),
        ("lacking", "lacks 1 weights, such as query_tokens"),
        ("no tokenizer", "holds no tokenizer"),
    ],
)
def test_unusable_folders_are_refused_in_one_sentence(how, sentence, toy_captions, tmp_path):
    folder = tmp_path / "blip2"
    shutil.copytree(toy_captions().blip2, folder)
    broken(folder, how)
    with pytest.raises(InputError, match=sentence) as error:
        Captioner(toy_captions(blip2=str(folder)), CPU)
    assert "\n" not in str(error.value)
    assert "captions.blip2" in str(error.value)


def test_swapped_folders_are_refused(toy_captions):
    toy = toy_captions()
    with pytest.raises(InputError, match="a model of type 'clip'; it takes one of type 'blip-2'"):
        Captioner(toy_captions(blip2=toy.clip), CPU)
    with pytest.raises(InputError, match="a model of type 'blip-2'; it takes one of type 'clip'"):
        Ranker(toy_captions(clip=toy.blip2), CPU)
