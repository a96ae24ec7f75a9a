"""The masked softmax, its fused form and the merger against plain loops over single queries."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mmgic.vision.network.attention import fused_attention, masked_softmax, plain_attention
from mmgic.vision.network.merger import in_parts, rows_per_product


def softmax_of_one_query(logits, allowed):
    """LaVIT's masked softmax in plain Python floats (float64)."""
    top = max(logits)
    weights = [math.exp(x - top) if a else 0.0 for x, a in zip(logits, allowed, strict=True)]
    total = sum(weights) + 1e-6
    return [(w + 1e-6 / len(logits)) / total for w in weights]


ROW = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        st.lists(st.floats(-30, 30, width=32), min_size=n, max_size=n),
        st.lists(st.booleans(), min_size=n, max_size=n),
    )
)


@given(ROW)
def test_masked_softmax_equals_the_loop(row):
    logits, allowed = row
    ours = masked_softmax(torch.tensor(logits), torch.tensor(allowed).float())
    assert ours.tolist() == pytest.approx(softmax_of_one_query(logits, allowed), rel=1e-4, abs=1e-9)
    assert ours.sum().item() == pytest.approx(1, abs=1e-5)


def test_nothing_allowed_is_uniform():
    assert masked_softmax(torch.tensor([5.0, -3.0, 0.5, 1.0]), torch.zeros(4)).tolist() == [0.25] * 4


def test_a_large_disallowed_logit_starves_the_row():
    """The maximum runs over all keys: allowed weights far below it fall under the eps."""
    weights = masked_softmax(torch.tensor([30.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 1.0]))
    assert weights.tolist() == pytest.approx([1 / 3] * 3, rel=1e-3)


@given(
    st.integers(1, 20),
    st.sampled_from([1.0, 5.0, 30.0]),
    st.sampled_from(["none", "all", "ragged", "causal"]),
    st.integers(0, 2**32),
)
def test_fused_attention_equals_the_plain_form(n, scale, kind, seed):
    """Also where the maximum of a row is a key that is not allowed, far above those that are."""
    generator = torch.Generator().manual_seed(seed)
    query, key, value = (torch.randn(2, 3, n, 10, generator=generator) for _ in range(3))
    query, value = query * scale, value + 1
    kept = torch.rand(2, 1, 1, n, generator=generator) < 0.4
    allowed = {
        "none": torch.zeros(2, 1, 1, n, dtype=torch.bool),
        "all": torch.ones(2, 1, 1, n, dtype=torch.bool),
        "ragged": kept,
        "causal": (torch.ones(n, n, dtype=torch.bool).tril(-1) & kept) | torch.eye(n, dtype=torch.bool),
    }[kind]
    plain = plain_attention(query, key, value, allowed.float())
    assert (fused_attention(query, key, value, allowed) - plain).abs().max() <= 1e-5 * plain.abs().max()


def test_fused_attention_has_the_plain_forms_gradients():
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 3, 12, 8, generator=generator, dtype=torch.float64) * 3 for _ in range(3))
    allowed = torch.rand(2, 1, 1, 12, generator=generator) < 0.3
    grads = []
    for function in (plain_attention, fused_attention):
        leaves = [x.float().requires_grad_() for x in (query, key, value)]
        function(*leaves, allowed).square().sum().backward()
        grads.append([leaf.grad for leaf in leaves])
    for plain, fused in zip(*grads, strict=True):
        assert (plain - fused).abs().max() <= 1e-5 * plain.abs().max()


def test_in_bfloat16_the_fused_form_is_no_further_off_than_the_plain_one():
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 4, 64, 88, generator=generator) * 2 for _ in range(3))
    allowed = torch.rand(2, 1, 1, 64, generator=generator) < 0.3
    exact = plain_attention(query, key, value, allowed)
    halves = [x.bfloat16() for x in (query, key, value)]
    plain, fused = ((f(*halves, allowed) - exact).abs().max() for f in (plain_attention, fused_attention))
    assert fused <= 1.1 * plain


def attention_by_loop(module, query, key, value, may_see):
    """query, key, value [N, width]; one query and one head at a time."""
    n, width = query.shape
    size = width // module.heads
    out = torch.zeros(n, width)
    for head in range(module.heads):
        part = slice(head * size, (head + 1) * size)
        for i in range(n):
            logits = [(query[i, part] @ key[j, part]).item() / size**0.5 for j in range(n)]
            weights = softmax_of_one_query(logits, [may_see(i, j) for j in range(n)])
            out[i, part] = sum(w * value[j, part] for j, w in enumerate(weights))
    return module.proj(out)


def merge_by_loop(merger, features, policy):
    """The merger for one image [N, width]."""

    def norm(layer, x):
        return F.layer_norm(x, x.shape[-1:], layer.weight, layer.bias, 1e-5)

    patches, x = norm(merger.ln_vision, features), features
    for block in merger.blocks:
        own, cross = block.token_causal_attn, block.token_cross_attn
        parts = own.qkv(norm(block.norm0, x)).chunk(3, dim=-1)
        x = x + attention_by_loop(own, *parts, lambda i, j: j <= i and (policy[j] or j == i))
        parts = (cross.query(norm(block.norm1, x)), cross.key(patches), cross.value(patches))
        x = x + attention_by_loop(cross, *parts, lambda i, j: not policy[j])
        x = x + block.mlp(norm(block.norm2, x))
    return norm(merger.norm, x)


@torch.no_grad()
@pytest.mark.parametrize("scale", [1.0, 1e-2], ids=["unit", "low_variance"])
@pytest.mark.parametrize("kept", [[], [0], [3, 4, 9, 15], list(range(16))], ids=["none", "first", "some", "all"])
def test_merger_equals_the_loop(small, kept, scale):
    features = torch.randn(1, 16, small.config.width, generator=torch.Generator().manual_seed(3)) * scale
    policy = torch.zeros(1, 16)
    policy[0, kept] = 1
    ours = small.causal_encoder(features, policy)[0]
    theirs = merge_by_loop(small.causal_encoder, features[0], policy[0].bool().tolist())
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


@torch.no_grad()
@pytest.mark.parametrize("kept", [[], [5], [0, 3, 4, 9, 15], list(range(16))], ids=["none", "one", "some", "all"])
def test_kept_rows_are_those_of_the_full_pass(small, kept):
    """Work on kept rows alone, in products of one height, whatever their number."""
    features = torch.randn(3, 16, small.config.width, generator=torch.Generator().manual_seed(3))
    policy = torch.zeros(3, 16)
    policy[0, kept] = policy[2, 7:] = 1
    full = small.causal_encoder(features, policy)[policy.bool()]
    alone = small.causal_encoder.kept_rows(features, policy)
    assert alone.shape == full.shape
    assert (alone - full).abs().max() <= 1e-5 * full.abs().max()


def test_parts_have_one_height_and_leave_no_padding_behind():
    seen = []

    def double(part):
        seen.append(len(part))
        return part * 2

    x = torch.arange(14.0).view(7, 2)
    assert torch.equal(in_parts(double, 3, x), x * 2)
    assert in_parts(double, 3, x[:0]).shape == (0, 2)
    assert set(seen[:3]) == {3}
    assert [rows_per_product(images, 256) for images in (1, 8, 64)] == [256, 256, 2048]
