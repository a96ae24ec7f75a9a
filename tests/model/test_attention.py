"""Attention inside the documents of a packed sequence: by a loop, and as it is called on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch._dynamo
from torch import Tensor
from torch.nn.attention import varlen

from mmgic.model import attention
from mmgic.model.assemble import untrained_model
from mmgic.model.attention import document_borders, document_loop, varlen_attention
from mmgic.model.loss import IGNORE
from mmgic.model.vl_llama import VLLlama
from mmgic.settings import Settings

aten = torch.ops.aten
CPU = torch.device("cpu")
LENGTHS = ([30], [5, 7], [20, 1, 4], [9] * 8, [3] * 17, [40, 50, 128], [2])


@pytest.fixture(scope="module")
def gpu_kernel_on_cpu() -> Iterator[None]:
    """PyTorch's operator for sequences of different lengths, which has kernels for GPUs alone, with one for the CPU:
    what calls it, compiles it and differentiates it is the real thing."""

    def one(tensor: Tensor, lengths: list[int], dim: int = 0) -> list[Tensor]:
        parts = tensor.split(lengths, dim)
        return [part.transpose(0, 1).unsqueeze(0) if part.ndim == 3 else part.unsqueeze(0) for part in parts]

    def forward(query, key, value, borders, _, longest, __, is_causal, scale, *options):  # type: ignore[no-untyped-def]
        lengths = borders.diff().tolist()
        assert is_causal
        assert longest >= max(lengths)
        found = [
            aten._scaled_dot_product_flash_attention_for_cpu(*of_one, 0.0, True, scale=scale)
            for of_one in zip(*(one(tensor, lengths) for tensor in (query, key, value)), strict=True)
        ]
        out = torch.cat([part[0].transpose(0, 1) for part, _ in found]).contiguous()
        return out, torch.cat([lse[0] for _, lse in found], 1), torch.zeros(2, dtype=torch.uint64)

    def backward(gradient, query, key, value, out, lse, borders, _, longest, __, is_causal, rng, scale, *options):  # type: ignore[no-untyped-def]
        lengths = borders.diff().tolist()
        tensors = (one(tensor, lengths) for tensor in (gradient, query, key, value, out))
        found = [
            aten._scaled_dot_product_flash_attention_for_cpu_backward(*of_one, 0.0, True, scale=scale)
            for of_one in zip(*tensors, one(lse, lengths, 1), strict=True)
        ]
        return tuple(torch.cat([part[0].transpose(0, 1) for part in parts]) for parts in zip(*found, strict=True))

    assert varlen.varlen_attn
    with torch.library._scoped_library("torch_attn", "FRAGMENT") as library:
        torch.library.register_kernel("torch_attn::_varlen_attn", "cpu", forward, lib=library)
        torch.library.register_kernel("torch_attn::_varlen_attn_backward", "cpu", backward, lib=library)
        yield


@pytest.mark.parametrize("lengths", [LENGTHS[0], LENGTHS[2], LENGTHS[4]])
def test_the_kernel_computes_what_the_loop_does(gpu_kernel_on_cpu: None, lengths: list[int]) -> None:
    generator = torch.Generator().manual_seed(0)
    tensors = [
        torch.randn(sum(lengths), heads, 8, generator=generator, requires_grad=True) for heads in (4, 2, 2)
    ]  # grouped heads
    borders, longest = document_borders(lengths, CPU)
    gradient = torch.randn(sum(lengths), 4, 8, generator=generator)
    results = []
    for attend in (varlen_attention, document_loop):
        out = attend(*tensors, borders, longest, 0.3)
        results.append([out, *torch.autograd.grad(out, tensors, gradient)])
    for ours, loop in zip(*results, strict=True):
        torch.testing.assert_close(ours, loop, rtol=1e-6, atol=1e-6)


def losses_and_gradients(model: VLLlama, lengths: list[int]) -> list[Tensor]:
    ids = torch.randint(model.vocabulary.size, (sum(lengths),), generator=torch.Generator().manual_seed(0))
    labels = ids.roll(-1)
    labels[torch.tensor(lengths).cumsum(0) - 1] = IGNORE
    sums = model(ids, lengths, labels)
    parameters = list(model.trained_parameters().values())
    return [sums.detach(), *torch.autograd.grad((sums * torch.tensor([0.1, 1.0])).sum(), parameters)]


def test_one_graph_whatever_the_documents(
    gpu_kernel_on_cpu: None,
    monkeypatch: pytest.MonkeyPatch,
    tiny_run: Callable[..., Settings],
    tmp_path: Path,
) -> None:
    """All layers share it too. Nothing is compiled to machine code here."""
    settings = tiny_run(tmp_path)
    plain, compiled = untrained_model(settings), untrained_model(settings)
    made = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., object]:
        made.append(graph)
        return graph.forward

    torch._dynamo.reset()
    monkeypatch.setattr(attention, "document_loop", varlen_attention)
    compiled.compile_layers(backend)
    for lengths in LENGTHS:
        for ours, expected in zip(
            losses_and_gradients(compiled, lengths), losses_and_gradients(plain, lengths), strict=True
        ):
            torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    assert len(made) == 1


def test_no_attention_across_documents(tiny_run: Callable[..., Settings], tmp_path: Path) -> None:
    """Another text in one document, and the others' logits are the same to the bit."""
    for dtype in ("float32", "bfloat16"):
        model = untrained_model(tiny_run(tmp_path, model={"dtype": dtype}))
        lengths = [7, 12, 1, 9]
        ids = torch.randint(60, (sum(lengths),), generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            before = model.logits(ids, lengths).split(lengths)
            for changed, start in enumerate(document_borders(lengths, CPU)[0][:-1].tolist()):
                other = ids.clone()
                other[start] = (other[start] + 1) % 60
                after = model.logits(other, lengths).split(lengths)
                same = [torch.equal(*pair) for pair in zip(before, after, strict=True)]
                assert same == [number != changed for number in range(len(lengths))]
