import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgic.errors import InputError
from mmgic.vision import VisionConfig, VisualTokenizer
from mmgic.vision.network.selector import choose, gumbel_noise


def test_codes_are_the_nearest_rows_in_raster_order(small, pixels):
    """encode against its definition, one kept patch at a time."""
    policy = torch.rand(5, 16, generator=torch.Generator().manual_seed(2)) < 0.4
    codes = small.encode(pixels, policy=policy)
    rows = small.quantize.embedding.weight
    with torch.no_grad():
        merged = small.causal_encoder(small.encoder(pixels)[:, 1:], policy.float())
        for image in range(5):
            expected = []
            for position in policy[image].nonzero().flatten():
                query = F.normalize(small.encode_task_layer(merged[image, position]), dim=0)
                expected.append(int((rows - query).norm(dim=1).argmin()))
            assert codes[image].tolist() == expected


def test_quantizer_counts_rows_as_stored():
    """Of two rows in the query's direction the one of nearly unit length is nearer, whatever the query's own length."""
    model = VisualTokenizer(VisionConfig(16, 8, 8, 1, 2, 8, 1, 2, codebook_size=3, codebook_dim=2))
    with torch.no_grad():
        model.quantize.embedding.weight.copy_(torch.tensor([[3.0, 0.0], [0.9, 0.0], [0.0, 1.0]]))
    queries = torch.tensor([[10.0, 0.0], [0.01, 0.0], [0.0, -1.0], [0.0, 0.0]])
    assert model.quantize.nearest(queries).tolist() == [1, 1, 1, 1]
    rows, codes = model.quantize(torch.tensor([[0.0, 2.0]]))
    assert codes.tolist() == [2]
    assert rows.tolist() == [[0.0, 1.0]]


def test_empty_and_full_images_in_one_batch(small, pixels):
    policy = torch.zeros(5, 16)
    policy[1] = 1
    policy[3, 7] = 1
    assert [len(codes) for codes in small.encode(pixels, policy=policy)] == [0, 16, 0, 1, 0]
    assert [len(codes) for codes in small.encode(pixels, policy=torch.zeros(5, 16))] == [0] * 5
    assert small.encode(pixels[:0]) == []


def test_argmax_keeps_the_likelier_side_and_noise_shifts_it(small, pixels):
    with torch.no_grad():
        log_probs = small.token_predictor(small.encoder(pixels)[:, 1:])
    assert torch.allclose(log_probs.exp().sum(dim=-1), torch.ones(5, 16), atol=1e-6)
    counts = [len(codes) for codes in small.encode(pixels, selection="argmax")]
    assert counts == (log_probs[..., 0] >= log_probs[..., 1]).sum(dim=1).tolist()
    noise = torch.zeros(5, 16, 2)
    noise[0, :3, 0] = noise[0, 3:, 1] = 1e4
    noise[1:, :, 1] = 1e4
    assert [len(codes) for codes in small.encode(pixels, noise=noise)] == [3, 0, 0, 0, 0]


def test_gumbel_choice_follows_the_selectors_probability():
    keep = torch.tensor([0.05, 0.3, 0.5, 0.9])
    log_probs = torch.stack((keep, 1 - keep), dim=-1).log().expand(20000, 4, 2)
    noise = gumbel_noise((20000, 4, 2), torch.Generator().manual_seed(0), torch.device("cpu"))
    # four standard errors of the widest share
    assert torch.allclose(choose(log_probs, noise).float().mean(dim=0), keep, atol=4 * (0.25 / 20000) ** 0.5)


def test_seeded_generator_repeats(small, pixels):
    first, second, third = (
        small.encode(pixels, generator=torch.Generator().manual_seed(seed)) for seed in (11, 11, 12)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first, third, strict=True))


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(5)), st.integers(1, 5))
def test_an_images_codes_do_not_depend_on_its_neighbours(small, pixels, order, count):
    noise = gumbel_noise((5, 16, 2), torch.Generator().manual_seed(4), torch.device("cpu"))
    together = small.encode(pixels, noise=noise)
    picked = torch.tensor(order[:count])
    for index, codes in zip(picked, small.encode(pixels[picked], noise=noise[picked]), strict=True):
        assert torch.equal(codes, together[index])


def test_encode_needs_no_gradient_and_its_codes_can_be_trained_on(small, pixels):
    codes = torch.cat(small.encode(pixels, policy=torch.ones(5, 16)))
    assert codes.dtype == torch.int64
    table = torch.nn.Embedding(50, 3)
    table(codes).sum().backward()
    assert table.weight.grad is not None


def test_merger_passes_gradients_to_a_soft_policy(small, pixels):
    """The selector learns through the merger's masks."""
    policy = torch.full((5, 16), 0.5, requires_grad=True)
    small.causal_encoder(small.encoder(pixels)[:, 1:].detach(), policy).square().sum().backward()
    assert (policy.grad.abs() > 0).all()


def test_bfloat16_trunk_keeps_selector_and_quantizer_in_float32(small, pixels):
    small, seen = copy.deepcopy(small), {}
    hooks = [
        module.register_forward_hook(lambda _, __, output, name=name: seen.update({name: output.dtype}))
        for name, module in (
            ("fc", small.encoder.blocks[0].mlp.fc1),
            ("merger", small.causal_encoder.blocks[0].mlp.fc1),
            ("log_probs", small.token_predictor),
            ("projected", small.encode_task_layer),
        )
    ]
    small.cast_trunk(torch.bfloat16).encode(pixels)
    assert small.encoder.pos_embed.dtype == small.encoder.blocks[0].norm1.weight.dtype == torch.float32
    for hook in hooks:
        hook.remove()
    half, full = torch.bfloat16, torch.float32
    assert seen == {"fc": half, "merger": half, "log_probs": full, "projected": full}


def test_compiled_blocks_give_the_same_features_and_keep_their_names(small, pixels):
    # the graphs are traced as for any backend; this one needs no compiler
    compiled = copy.deepcopy(small).compile_trunk("aot_eager")
    policy = torch.rand(5, 16, generator=torch.Generator().manual_seed(0)) < 0.4
    with torch.inference_mode():
        ours, theirs = (m.causal_encoder.kept_rows(m.patch_features(pixels), policy.float()) for m in (compiled, small))
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()
    assert compiled.state_dict().keys() == small.state_dict().keys()


def test_selector_and_quantizer_stay_in_float32_within_a_callers_autocast(small, pixels):
    features = small.patch_features(pixels).detach()
    kept = torch.ones(5, 16, dtype=torch.bool)
    plain = small.token_predictor(features), small.encode(pixels, selection="argmax"), small.codes(features, kept)
    with torch.autocast("cpu", torch.bfloat16):
        inside = small.token_predictor(features), small.encode(pixels, selection="argmax"), small.codes(features, kept)
    assert torch.equal(inside[0], plain[0])
    for ours, theirs in zip(inside[1] + inside[2], plain[1] + plain[2], strict=True):
        assert torch.equal(ours, theirs)


def test_a_generator_draws_on_its_own_device():
    """Pixels may lie on a GPU and the generator on the CPU. The meta device stands for the other one."""
    one, other = (torch.Generator().manual_seed(3) for _ in range(2))
    drawn = gumbel_noise((2, 4, 2), one, torch.device("meta"))
    assert drawn.device.type == "meta"
    gumbel_noise((2, 4, 2), other, torch.device("cpu"))
    assert torch.equal(one.get_state(), other.get_state())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": torch.zeros(5, 15, 2)}, r"noise are \[5, 15, 2\].*takes \[5, 16, 2\]"),
        ({"policy": torch.zeros(4, 16)}, r"policy are \[4, 16\]"),
    ],
)
def test_wrong_shapes_are_refused(small, pixels, options, message):
    with pytest.raises(InputError, match=message):
        small.encode(pixels, **options)
    with pytest.raises(InputError, match="pixels"):
        small.encode(pixels[:, :, :31])


def test_load_lavit_round_trip_in_half_precision_and_without_prefix(small):
    halves = {key.removeprefix("encoder."): value.half() for key, value in small.state_dict().items()}
    halves |= {"norm.weight": torch.ones(24), "norm.bias": torch.ones(24)}
    halves |= {"head.weight": torch.ones(3, 24), "head.bias": torch.ones(3)}
    other = VisualTokenizer(small.config)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert other.load_lavit(halves) == []
    for key, value in other.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, small.state_dict()[key].half().float())


def test_load_lavit_names_what_is_missing_wrong_and_unexpected(small):
    state = dict(small.state_dict())
    other = VisualTokenizer(small.config)
    before = {key: value.clone() for key, value in other.state_dict().items()}
    del state["token_predictor.in_conv.0.weight"], state["encoder.cls_token"]
    with pytest.raises(InputError, match=r"lacks encoder\.cls_token, token_predictor\.in_conv\.0\.weight$"):
        other.load_lavit(state)
    with pytest.raises(InputError, match=r"quantize\.embedding\.weight \[2, 2\] instead of \[50, 6\]"):
        other.load_lavit(small.state_dict() | {"quantize.embedding.weight": torch.zeros(2, 2)})
    assert all(torch.equal(value, before[key]) for key, value in other.state_dict().items())
    with pytest.warns(UserWarning, match="quantize.cluster_size"):
        assert other.load_lavit(small.state_dict() | {"quantize.cluster_size": torch.zeros(50)}) == [
            "quantize.cluster_size"
        ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": 225}, "image_size 225 is no multiple of patch_size 14"),
        ({"num_heads": 7}, "width 1408 is no multiple of num_heads 7"),
        ({"width": 33, "num_heads": 1, "merger_heads": 1}, "width 33 is odd"),
        ({"depth": 0}, "depth is 0"),
    ],
)
def test_impossible_configs_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        VisionConfig(**change)
