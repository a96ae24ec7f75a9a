"""The feature decoders: the reference run, the same equations in torch's own layers, properties."""

import json

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from mmgic.errors import InputError
from mmgic.vision.network.feature_decoder import DecoderConfig, make_decoder

SMALL = {
    "patches": 9,
    "width": 24,
    "depth": 2,
    "num_heads": 3,
    "mlp_hidden": 20,
    "codebook_dim": 5,
    "feature_dim": 12,
    "prompt_dim": 7,
}
VARIANTS = {"lowres": DecoderConfig(**SMALL), "highres": DecoderConfig(**SMALL, pooled_dim=10)}


def drawn(config):
    """Every parameter is drawn: a bias or norm left at its start would hide a mistake."""
    generator = torch.Generator().manual_seed(3)
    model = make_decoder(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    return model


@pytest.fixture(scope="module", params=list(VARIANTS))
def decoder(request):
    return drawn(VARIANTS[request.param])


@pytest.fixture(scope="module")
def rows():
    return torch.randn(40, 5, generator=torch.Generator().manual_seed(1))


def outputs(conditions):
    return [part for part in (conditions.prompt, conditions.pooled) if part is not None]


@torch.inference_mode()
@pytest.mark.parametrize("policy", ["gumbel", "argmax", "all_keep", "first_only"])
@pytest.mark.parametrize(("variant", "pooled"), [("lowres", 0), ("highres", 1280)])
def test_the_recorded_run(shared, variant, pooled, policy):
    folder = shared / "fixtures" / "lavit"
    path = folder / f"tiny_{variant}_decoder.safetensors"
    with safe_open(path, "pt") as file:
        sizes = json.loads(file.metadata()["config"])
    weights, io = load_file(path), load_file(folder / "tiny_io.safetensors")
    model = make_decoder(
        DecoderConfig(
            patches=(sizes["img"] // sizes["patch"]) ** 2,
            width=sizes["width"],
            depth=sizes["dec_depth"],
            num_heads=sizes["dec_heads"],
            mlp_hidden=len(weights["blocks.0.mlp.fc1.bias"]),
            codebook_dim=sizes["code_dim"],
            pooled_dim=pooled,
        )
    ).eval()
    model.load_state_dict(weights)
    run = f"runs.{policy}."
    ours = outputs(model(io[run + "quantize"], io[run + "token_nums"].tolist()))
    names = ["highres_prompt", "highres_pooled"] if pooled else ["lowres"]
    for name, tensor in zip(names, ours, strict=True):
        theirs = io[f"decoders.{policy}.{name}"]
        error = ((tensor - theirs).abs().max() / theirs.abs().max()).item()
        print(f"{policy:10} {name:22} {error:.1e}")
        assert tensor.shape == theirs.shape
        assert error <= 1e-5


def torch_attention(ours, weight, bias, query, key, value, mask=None):
    """torch's own attention layer with the weights of `ours`."""
    layer = nn.MultiheadAttention(query.shape[-1], ours.heads, batch_first=True)
    out = getattr(ours, "proj", None)
    with torch.no_grad():
        layer.in_proj_weight.copy_(weight)
        layer.in_proj_bias.copy_(bias)
        if out is None:
            layer.out_proj.weight.copy_(torch.eye(query.shape[-1]))
            layer.out_proj.bias.zero_()
        else:
            layer.out_proj.load_state_dict(out.state_dict())
    return layer(query, key, value, key_padding_mask=mask, need_weights=False)[0]


def joined(*layers):
    return torch.cat([layer.weight for layer in layers]), torch.cat([layer.bias for layer in layers])


def by_the_book(model, rows):
    """One image, without padding."""
    config = model.config
    memory = F.linear(rows, model.in_proj.weight, model.in_proj.bias)[None] + model.pos_embed[:, : len(rows)]
    z = model.query_embed

    def norm(layer, x):
        return F.layer_norm(x, (config.width,), layer.weight, layer.bias, 1e-5)

    for block in model.blocks:
        x = norm(block.norm0, z)
        own, cross = block.self_attn, block.cross_attn
        z = z + torch_attention(own, own.qkv.weight, own.qkv.bias, x, x, x)
        x = norm(block.norm1, z)
        z = z + torch_attention(cross, *joined(cross.query, cross.key, cross.value), x, memory, memory)
        x = norm(block.norm2, z)
        z = z + block.mlp.fc2(0.5 * block.mlp.fc1(x) * (1 + torch.erf(block.mlp.fc1(x) / 2**0.5)))
    first, _, second = model.decode_task_layer
    features = second(torch.tanh(first(norm(model.norm, z))))
    if not config.pooled_dim:
        return [model.unet_proj(features)]
    pool = model.unet_attnpool
    x = torch.cat((features.mean(1, keepdim=True), features), 1) + pool.positional_embedding
    pooled = torch_attention(pool, *joined(pool.q_proj, pool.k_proj, pool.v_proj), x, x, x)[:, 0]
    return [torch.cat((model.unet_proj_1(features), model.unet_proj_2(features)), -1), pool.c_proj(pooled)]


@torch.inference_mode()
@pytest.mark.parametrize("count", [1, 4, 9])
def test_equations_in_torchs_own_layers(decoder, rows, count):
    ours = outputs(decoder(rows[:count], [count]))
    for mine, reference in zip(ours, by_the_book(decoder, rows[:count]), strict=True):
        assert torch.allclose(mine, reference, rtol=1e-5, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(counts=st.lists(st.integers(1, 9), min_size=1, max_size=4))
@torch.inference_mode()
def test_padding_changes_nothing(counts):
    model = drawn(VARIANTS["highres"])
    rows = torch.randn(sum(counts), 5, generator=torch.Generator().manual_seed(sum(counts)))
    together = outputs(model(rows, counts))
    alone = [outputs(model(part, [len(part)])) for part in rows.split(counts)]
    for batch, singles in zip(together, zip(*alone, strict=True), strict=True):
        assert torch.allclose(batch, torch.cat(singles), rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_empty_images_are_finite_and_leave_the_others_alone(decoder, rows):
    for counts in ([0, 3], [3, 0, 9], [0], [0, 0]):
        together = outputs(decoder(rows[: sum(counts)], counts))
        starts = [sum(counts[:i]) for i in range(len(counts))]
        for part in together:
            assert part.isfinite().all()
            assert len(part) == len(counts)
        for i, (start, count) in enumerate(zip(starts, counts, strict=True)):
            if count:
                for batch, single in zip(together, outputs(decoder(rows[start : start + count], [count])), strict=True):
                    assert torch.allclose(batch[i : i + 1], single, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_an_empty_image_reads_the_padding(decoder, rows):
    """All of its scores are shifted alike, which a softmax does not see."""
    memory = decoder.pos_embed[:, :3]
    x = decoder.query_embed
    block = decoder.blocks[0]
    cross = block.cross_attn
    x = x + block.self_attn(block.norm0(x))
    expected = torch_attention(cross, *joined(cross.query, cross.key, cross.value), block.norm1(x), memory, memory)
    seen = []
    hook = cross.register_forward_hook(lambda _, __, output: seen.append(output))
    decoder(rows[:3], [0, 3])
    hook.remove()
    # the shift costs all but three digits of a score
    assert torch.allclose(seen[0][:1], expected, atol=2e-2)


@torch.inference_mode()
def test_order_of_codes_counts(decoder, rows):
    first, second = (decoder(rows[order], [4]).prompt for order in ([0, 1, 2, 3], [1, 0, 2, 3]))
    assert not torch.allclose(first, second, atol=1e-3)


def test_what_does_not_fit_is_refused(decoder, rows):
    with pytest.raises(InputError, match="10 codes; this decoder takes 9 at most"):
        decoder(rows[:10], [10])
    with pytest.raises(InputError, match="codebook rows are"):
        decoder(rows[:4], [3])
    with pytest.raises(InputError, match="codebook rows are"):
        decoder(rows[:4, :4], [4])
    with pytest.raises(InputError, match="width 24 is no multiple of num_heads 5"):
        DecoderConfig(**{**SMALL, "num_heads": 5})
    with pytest.raises(InputError, match="depth is 0"):
        DecoderConfig(**{**SMALL, "depth": 0})
