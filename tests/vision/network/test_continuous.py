"""Continuous features for understanding: the reference run's values, and how they differ from the path of codes."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mmgic.errors import InputError
from mmgic.vision import VisionConfig, VisualTokenizer
from mmgic.vision.network.continuous import ContinuousFeatures, load_continuous, own_keys, save_continuous


def draw(module, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return module.eval()


@pytest.fixture(scope="module")
def continuous(small):
    model = ContinuousFeatures(small, 11)
    draw(model.causal_encoder, 1)
    draw(model.vit_proj, 2)
    return model.eval()


@pytest.mark.parametrize("policy", ["gumbel", "argmax", "all_keep", "first_only"])
def test_the_recorded_run(shared, policy):
    folder = shared / "fixtures" / "lavit"
    with safe_open(folder / "tiny_tokenizer.safetensors", "pt") as file:
        sizes = json.loads(file.metadata()["config"])
    weights, io = load_file(folder / "tiny_tokenizer.safetensors"), load_file(folder / "tiny_io.safetensors")
    config = VisionConfig(
        image_size=sizes["img"],
        patch_size=sizes["patch"],
        width=sizes["width"],
        depth=sizes["vit_layers"],
        num_heads=sizes["width"] // sizes["head_width"],
        mlp_hidden=len(weights["encoder.blocks.0.mlp.fc1.bias"]),
        merger_depth=sizes["layers"],
        merger_heads=sizes["heads"],
        codebook_size=sizes["n_code"],
        codebook_dim=sizes["code_dim"],
    )
    model = ContinuousFeatures(VisualTokenizer(config), 4096).eval()
    model.load_state_dict({key: weights[key] for key in model.state_dict()})
    run = f"runs.{policy}."
    chosen = {"gumbel": {"noise": io[run + "gumbel_noise"]}, "argmax": {"selection": "argmax"}}
    ours = model(io["image"], **chosen.get(policy, {"policy": io[run + "policy"]}))
    for b, features in enumerate(ours):
        theirs = io[f"{run}continuous_features.{b}"]
        error = ((features - theirs).abs().max() / theirs.abs().max()).item()
        print(f"{policy:10} continuous_features.{b} {error:.1e}")
        assert features.shape == theirs.shape
        assert error <= 1e-5


def test_own_merger_and_shared_encoder(continuous, small, pixels):
    policy = (torch.arange(16) % 2).expand(5, -1)
    features = continuous(pixels, policy=policy)
    assert [tuple(f.shape) for f in features] == [(8, 11)] * 5
    assert continuous.encoder is small.encoder
    with torch.inference_mode():
        merged = continuous.causal_encoder(small.patch_features(pixels), policy.float())[policy.bool()]
        expected = continuous.vit_proj(merged).split([8] * 5)
        other = continuous.vit_proj(small.causal_encoder(small.patch_features(pixels), policy.float())[policy.bool()])
    for ours, theirs in zip(features, expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)
    assert not torch.allclose(torch.cat(features), other, atol=1e-2)
    assert not hasattr(continuous, "quantize")


def test_selection_is_the_tokenizers(continuous, small, pixels):
    for options in (
        {"selection": "argmax"},
        {"noise": torch.randn(5, 16, 2, generator=torch.Generator().manual_seed(4))},
    ):
        lengths = [len(codes) for codes in small.encode(pixels, **options)]
        assert [len(features) for features in continuous(pixels, **options)] == lengths
    drawn = (continuous(pixels, generator=torch.Generator().manual_seed(9)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(*drawn, strict=True))
    assert all(len(f) == 0 for f in continuous(pixels, policy=torch.zeros(5, 16)))
    with pytest.raises(InputError, match="policy are"):
        continuous(pixels, policy=torch.zeros(5, 15))


def test_save_and_load(continuous, small, pixels, tmp_path):
    save_continuous(continuous, tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    assert saved.keys() == own_keys(continuous)
    loaded = load_continuous(tmp_path, small)
    ours, theirs = (model(pixels, selection="argmax") for model in (loaded, continuous))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))

    save_file({k: v for k, v in saved.items() if "ln_vision" not in k}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"misshapen: causal_encoder\.ln_vision\.bias"):
        load_continuous(tmp_path, small)
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"holds no vit_proj\.weight"):
        load_continuous(tmp_path, small)
