"""OpenCLIP folders: the same weights give the cosines of Transformers' CLIP, or are refused with a sentence."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

from mmgic.captions.clip import check_clip, clip_parts, load_clip
from mmgic.captions.images import ReadImage
from mmgic.captions.models import Ranker
from mmgic.errors import InputError

open_clip = pytest.importorskip("open_clip")

CPU = torch.device("cpu")
SIZE, PATCH, WIDTH, LAYERS, DIM = 64, 16, 64, 2, 32
BLOCK = (
    ("attn.out_proj", "self_attn.out_proj"),
    ("ln_1", "layer_norm1"),
    ("ln_2", "layer_norm2"),
    ("mlp.c_fc", "mlp.fc1"),
    ("mlp.c_proj", "mlp.fc2"),
)
CAPTIONS = [["A red ball on a table.", "a cat"], ["There is a green tree in a park. " * 20, "two dogs, 3 kites"]]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One CLIP with random weights, as Transformers and as OpenCLIP store it."""
    theirs, ours = tmp_path_factory.mktemp("transformers"), tmp_path_factory.mktemp("open_clip")
    bpe = open_clip.SimpleTokenizer()
    merges = [pair for pair, _ in sorted(bpe.bpe_ranks.items(), key=lambda item: item[1])]
    (theirs / "vocab.json").write_text(json.dumps(_names(bpe.encoder)))
    (theirs / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    CLIPTokenizer.from_pretrained(str(theirs), local_files_only=True).save_pretrained(theirs)
    CLIPImageProcessor(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}).save_pretrained(theirs)
    shared = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": LAYERS, "hidden_act": "gelu"}
    end = bpe.encoder["<end_of_text>"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CLIPModel(
            CLIPConfig(
                text_config=CLIPTextConfig(
                    vocab_size=bpe.vocab_size, num_attention_heads=1, eos_token_id=end, bos_token_id=end - 1, **shared
                ).to_dict(),
                vision_config=CLIPVisionConfig(
                    image_size=SIZE, patch_size=PATCH, num_attention_heads=1, **shared
                ).to_dict(),
                projection_dim=DIM,
            )
        )
    model.save_pretrained(theirs)
    sizes = {"width": WIDTH, "layers": LAYERS}
    config = {
        "model_cfg": {
            "embed_dim": DIM,
            "vision_cfg": {"image_size": SIZE, "patch_size": PATCH, **sizes, "head_width": WIDTH},
            "text_cfg": {"vocab_size": bpe.vocab_size, **sizes, "heads": 1},
        },
        "preprocess_cfg": {"interpolation": "bicubic", "resize_mode": "shortest"},
    }
    (ours / "open_clip_config.json").write_text(json.dumps(config))
    save_file(_as_open_clip(model.state_dict()), ours / "open_clip_model.safetensors")
    return theirs, ours


def _names(encoder):
    """OpenCLIP's names of the two special tokens as CLIP's tokenizer has them."""
    special = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    return {special.get(token, token): number for token, number in encoder.items()}


def _as_open_clip(weights):
    """Transformers' weights of a CLIP under OpenCLIP's names."""
    made = {"logit_scale": weights["logit_scale"]}
    for side, prefix in (("vision", "visual."), ("text", "")):
        own = f"{side}_model."
        for i in range(LAYERS):
            layer, block = f"{own}encoder.layers.{i}.", f"{prefix}transformer.resblocks.{i}."
            for kind in ("weight", "bias"):
                parts = [weights[f"{layer}self_attn.{name}_proj.{kind}"] for name in "qkv"]
                made[f"{block}attn.in_proj_{kind}"] = torch.cat(parts)
                for ours, theirs in BLOCK:
                    made[f"{block}{ours}.{kind}"] = weights[f"{layer}{theirs}.{kind}"]
    norms = (("visual.ln_pre", "vision_model.pre_layrnorm"), ("visual.ln_post", "vision_model.post_layernorm"))
    for ours, theirs in (*norms, ("ln_final", "text_model.final_layer_norm")):
        made |= {f"{ours}.{kind}": weights[f"{theirs}.{kind}"] for kind in ("weight", "bias")}
    vision, text = "vision_model.embeddings.", "text_model.embeddings."
    made["visual.class_embedding"] = weights[f"{vision}class_embedding"]
    made["visual.conv1.weight"] = weights[f"{vision}patch_embedding.weight"]
    made["visual.positional_embedding"] = weights[f"{vision}position_embedding.weight"]
    made["token_embedding.weight"] = weights[f"{text}token_embedding.weight"]
    made["positional_embedding"] = weights[f"{text}position_embedding.weight"]
    made["visual.proj"] = weights["visual_projection.weight"].T.contiguous()
    made["text_projection"] = weights["text_projection.weight"].T.contiguous()
    return {name: tensor.clone() for name, tensor in made.items()}


def test_the_same_weights_give_the_same_cosines(folders, toy_captions, rows):
    scores = []
    for folder in map(str, folders):
        check_clip(folder)
        for part in clip_parts(folder):
            part()
        settings = toy_captions(clip=folder)
        read, ranker = ReadImage(settings, "caption"), Ranker(settings, CPU)
        scores.append(ranker.score(ranker.encode(np.stack([read(row).clip for row in rows[:2]])), CAPTIONS))
    theirs, ours = map(np.array, scores)
    assert np.abs(theirs - ours).max() < 1e-5
    assert theirs.std() > 1e-3  # cosines that tell the captions apart


def test_pixels_are_those_of_open_clip_s_own_transform(folders, toy_captions, rows, images, tmp_path):
    from PIL import Image

    _, folder = folders
    _, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    clip = load_clip(str(folder), CPU)
    read = ReadImage(toy_captions(clip=str(folder)), "caption")
    for i, (row, original) in enumerate(zip(rows[:4], images[:4], strict=True)):
        # squashed so that what is cut off is even, which the libraries cut alike
        path = tmp_path / f"{i}.png"
        Image.open(original).resize((128, 192) if i % 2 else (256, 128)).save(path)
        row = {**row, "image_path": str(path)}
        ours = clip.processor(
            torch.from_numpy(read(row).clip[None]), do_resize=False, do_center_crop=False, return_tensors="pt"
        )["pixel_values"][0]
        difference = (ours - transform(Image.open(path))).abs()
        assert difference.mean() < 0.01  # of values from -2 to 2; the two libraries round resized pixels apart


def test_unusable_open_clip_folders_are_refused_in_one_sentence(tmp_path, folders):
    (tmp_path / "open_clip_config.json").write_text("{}")
    with pytest.raises(InputError, match=r"holds no \.safetensors file"):
        load_clip(str(tmp_path), CPU)
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match="which OpenCLIP cannot use"):
        load_clip(str(tmp_path), CPU)
    (tmp_path / "open_clip_config.json").write_bytes((folders[1] / "open_clip_config.json").read_bytes())
    with pytest.raises(InputError, match="which OpenCLIP cannot use"):
        load_clip(str(tmp_path), CPU)


def test_weights_that_are_not_the_config_s_are_found_by_their_headers(tmp_path, folders):
    for part in clip_parts(str(folders[1])):
        part()
    for path in folders[1].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "open_clip_config.json").read_text())
    config["model_cfg"]["vision_cfg"]["layers"] += 1
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"asks for visual\..* which is not in its weights; fetch both again"):
        clip_parts(str(tmp_path))[2]()
