"""Every recorded value of LaVIT's reference run, where the reference folder is there."""

import json

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file

from mmgic.vision import VisionConfig, VisualTokenizer

POLICIES = ("gumbel", "argmax", "all_keep", "first_only")


@pytest.fixture(scope="module")
def reference(shared):
    folder = shared / "fixtures" / "lavit"
    with safe_open(folder / "tiny_tokenizer.safetensors", "pt") as file:
        config = json.loads(file.metadata()["config"])
    weights = load_file(folder / "tiny_tokenizer.safetensors")
    model = VisualTokenizer(
        VisionConfig(
            image_size=config["img"],
            patch_size=config["patch"],
            width=config["width"],
            depth=config["vit_layers"],
            num_heads=config["width"] // config["head_width"],
            mlp_hidden=weights["encoder.blocks.0.mlp.fc1.weight"].shape[0],
            merger_depth=config["layers"],
            merger_heads=config["heads"],
            codebook_size=config["n_code"],
            codebook_dim=config["code_dim"],
        )
    )
    with pytest.warns(UserWarning, match="vit_proj"):
        assert model.load_lavit(weights) == ["vit_proj.bias", "vit_proj.weight"]
    return model.eval(), weights, load_file(folder / "tiny_io.safetensors")


def recorded_names(model):
    """Submodule of ours -> name of the tensor that the reference recorded there."""
    names = {
        model.encoder.patch_embed: "patch_embed",
        model.token_predictor: "log_probs",
        model.causal_encoder.ln_vision: "merger_x_origin",
        model.causal_encoder: "merger_out",
    }
    names |= {block: f"vit_block_{i}" for i, block in enumerate(model.encoder.blocks)}
    return names | {block: f"merger_block_{i}" for i, block in enumerate(model.causal_encoder.blocks)}


def encode_and_record(model, pixels, **options):
    """The codes, and every recorded tensor: those of all positions from the merger's full pass over the same policy."""
    seen = {}
    hooks = [
        module.register_forward_hook(lambda _, __, output, name=name: seen.update({name: output}))
        for module, name in recorded_names(model).items()
    ]
    merge = model.causal_encoder.kept_rows
    with pytest.MonkeyPatch.context() as patch:

        def kept_rows(features, policy):
            model.causal_encoder(features, policy)
            seen["kept"] = merge(features, policy)
            return seen["kept"]

        patch.setattr(model.causal_encoder, "kept_rows", kept_rows)
        codes = model.encode(pixels, **options)
    for hook in hooks:
        hook.remove()
    # `encode` runs this layer on parts of one height; a hook would see the last one
    seen["task_out"] = model.encode_task_layer(seen["kept"])
    return codes, seen


def relative_error(ours, theirs):
    return ((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-12)).item()


@torch.inference_mode()
@pytest.mark.parametrize("policy_name", POLICIES)
@pytest.mark.parametrize("forced", [True, False], ids=["forced", "chosen"])
def test_every_recorded_tensor(reference, policy_name, forced):
    model, weights, io = reference
    run = {k.removeprefix(f"runs.{policy_name}."): v for k, v in io.items() if k.startswith(f"runs.{policy_name}.")}
    chosen = {"gumbel": {"noise": run["gumbel_noise"]}, "argmax": {"selection": "argmax"}}
    if not forced and policy_name not in chosen:
        pytest.skip("the reference forced this policy itself")
    options = {"policy": run["policy"]} if forced else chosen[policy_name]
    codes, seen = encode_and_record(model, io["image"], **options)

    seen["encoder_all"] = seen[f"vit_block_{model.config.depth - 1}"]
    normed = F.layer_norm(
        seen["encoder_all"][:, 0],
        (model.config.width,),
        weights["encoder.norm.weight"],
        weights["encoder.norm.bias"],
        1e-6,
    )
    seen["encoder_clip"] = F.linear(normed, weights["encoder.head.weight"], weights["encoder.head.bias"])
    seen["quantize"] = model.quantize.embedding(torch.cat(codes))
    if forced:
        seen["log_probs"] = model.token_predictor(seen["encoder_all"][:, 1:])
    expected = {name: run[name] if name in run else io[name] for name in seen if name != "kept"}
    expected["kept"] = run["merger_out"][run["policy"].bool()]
    for b in range(len(io["image"])):
        kept = seen["merger_out"][b][run["policy"][b].bool()]
        seen[f"continuous_features.{b}"] = F.linear(kept, weights["vit_proj.weight"], weights["vit_proj.bias"])
        expected[f"continuous_features.{b}"] = run[f"continuous_features.{b}"]

    errors = {name: relative_error(seen[name], expected[name]) for name in seen if expected[name].numel()}
    for name, error in sorted(errors.items()):
        print(f"{policy_name:10} {name:22} {error:.1e}")
    assert max(errors.values()) <= 1e-5
    assert [len(c) for c in codes] == run["token_nums"].tolist()
    for b, image_codes in enumerate(codes):
        assert torch.equal(image_codes + 32002, run[f"llm_ids.{b}"])
        assert run[f"llm_ids_special.{b}"].tolist() == [32000, *run[f"llm_ids.{b}"].tolist(), 32001]


@torch.inference_mode()
def test_chosen_policies_are_the_recorded_ones(reference):
    model, _, io = reference
    _, seen = encode_and_record(model, io["image"], selection="argmax")
    keep = seen["log_probs"][..., 0] >= seen["log_probs"][..., 1]
    assert torch.equal(keep, io["runs.argmax.policy"].bool())


def test_encoder_keys_may_lack_their_prefix(reference):
    model, weights, io = reference
    other = VisualTokenizer(model.config).eval()
    bare = {k.removeprefix("encoder."): v for k, v in weights.items() if not k.startswith("vit_proj")}
    assert other.load_lavit(bare) == []
    ours, theirs = (m.encode(io["image"], selection="argmax") for m in (other, model))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_default_config_is_the_released_size(shared):
    rows = [line.split("\t") for line in (shared / "fixtures/lavit/full_keys.tsv").read_text().splitlines()]
    released = {key: shape for module, key, shape in rows if module == "tokenizer"}
    with torch.device("meta"):
        ours = {key: str(tuple(value.shape)) for key, value in VisualTokenizer(VisionConfig()).state_dict().items()}
    assert ours.items() <= released.items()
    beyond = {key.split(".")[0] + "." + key.split(".")[1] for key in released.keys() - ours.keys()}
    assert beyond == {"encoder.norm", "encoder.head", "vit_proj.weight", "vit_proj.bias"}
