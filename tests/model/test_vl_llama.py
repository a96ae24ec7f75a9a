"""The extended Llama: packing without attention across documents, what trains, where new rows start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from transformers import LlamaForCausalLM

from mmgic.errors import InputError
from mmgic.model.assemble import untrained_model
from mmgic.model.vl_llama import VLLlama, build_model, trainable_summary
from mmgic.model.vocabulary import VLVocabulary
from mmgic.settings import Settings


@pytest.fixture(scope="module")
def run_settings(tiny_run: Callable[..., Settings], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return tiny_run(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def model(run_settings: Settings) -> VLLlama:
    return disturbed(untrained_model(run_settings))


def disturbed(model: VLLlama) -> VLLlama:
    """`model` with every trained parameter moved, so that LoRA's second factor is not zero."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.trained_parameters().values():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=6), seed=st.integers(0, 99))
@hypothesis_settings(deadline=None, max_examples=25)
def test_packed_documents_do_not_see_each_other(model: VLLlama, lengths: list[int], seed: int) -> None:
    ids = torch.randint(model.vocabulary.size, (sum(lengths),), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        packed = model.logits(ids, lengths)
        apart = torch.cat([model.logits(document, [len(document)]) for document in ids.split(lengths)])
    torch.testing.assert_close(packed, apart, rtol=1e-4, atol=1e-5)


def test_text_logits_start_as_the_language_models(run_settings: Settings) -> None:
    """New ids aside nothing has changed before the first step, and the attention is Transformers' own."""
    llama = LlamaForCausalLM.from_pretrained(run_settings.model.llm)
    ids = torch.arange(3, 40)
    with torch.no_grad():
        expected = llama(ids[None]).logits[0]
        ours = untrained_model(run_settings).logits(ids, [len(ids)])[:, : expected.shape[1]]
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_new_rows_start_at_the_text_rows_scale(run_settings: Settings) -> None:
    model = untrained_model(run_settings)
    text = model.vocabulary.text_size
    table, head = model.embedding.table(), model.head
    torch.testing.assert_close(table[text + 2 :].norm(dim=1).mean(), table[:text].norm(dim=1).mean())
    torch.testing.assert_close(head[text:].norm(dim=1), head[:text].norm(dim=1).mean().expand(len(head) - text))
    # each new head row points where its embedding row points
    torch.testing.assert_close(
        torch.cosine_similarity(table[text:], head[text:]), torch.ones(len(head) - text), rtol=1e-5, atol=1e-5
    )
    assert model.embedding.table()[text + 2 :].shape == (model.vocabulary.num_codes, 32)
    assert torch.linalg.matrix_rank(table[text + 2 :]) <= model.embedding.codebook.shape[1]


def test_trained_parts(run_settings: Settings) -> None:
    model = untrained_model(run_settings)
    trained = model.trained_parameters()
    assert {name for name in trained if not name.startswith("llama.")} == {
        "embedding.rows",
        "embedding.codebook",
        "embedding.projection",
        "head",
    }
    kinds = {name.split(".")[-2] if "lora" not in name else "lora" for name in trained if name.startswith("llama.")}
    assert kinds == {"norm", "input_layernorm", "post_attention_layernorm", "lora"}
    assert sum("lora_A" in name for name in trained) == 2 * 7  # two layers of seven linears
    assert all(parameter.dtype == torch.float32 for parameter in trained.values())
    summary = trainable_summary(model)
    assert summary.trained == sum(parameter.numel() for parameter in trained.values())
    assert f"{summary.trained:,} of {summary.total:,} parameters are trained" in str(summary)


def test_the_seed_alone_decides_the_start(run_settings: Settings) -> None:
    torch.manual_seed(1)
    first = untrained_model(run_settings).state_dict()
    torch.manual_seed(2)
    second = untrained_model(run_settings).state_dict()
    other = untrained_model(replace(run_settings, seed=run_settings.seed + 1)).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["embedding.projection"], other["embedding.projection"])


def test_bfloat16_computes_near_float32(run_settings: Settings) -> None:
    low = replace(run_settings, model=replace(run_settings.model, dtype="bfloat16"))
    ids, labels = torch.arange(3, 70), torch.arange(4, 71)
    with torch.no_grad():
        losses = [disturbed(untrained_model(s))(ids, [30, 37], labels) for s in (run_settings, low)]
    torch.testing.assert_close(losses[1], losses[0], rtol=0.03, atol=0.5)


def test_activations_stay_in_the_type_that_is_computed_in(run_settings: Settings) -> None:
    """What PEFT and float32 norms cast up, autocast casts back: the losses are the same to the bit without it, and
    gradients but for sums of a linear map's inputs, which are in bfloat16 now (8 bits, so 2 % of their length)."""
    low = replace(run_settings, model=replace(run_settings.model, dtype="bfloat16"))
    lean, plain = disturbed(untrained_model(low)), disturbed(untrained_model(low))
    for module in plain.llama.modules():
        module._forward_hooks.clear()
        if hasattr(module, "cast_input_dtype_enabled"):
            module.cast_input_dtype_enabled = True
    ids, labels = torch.arange(3, 70), torch.arange(4, 71)
    losses = [model(ids, [30, 37], labels) for model in (lean, plain)]
    assert torch.equal(*losses)
    gradients = [
        torch.autograd.grad(sums.sum(), list(model.trained_parameters().values()))
        for sums, model in zip(losses, (lean, plain), strict=True)
    ]
    for ours, expected in zip(*gradients, strict=True):
        assert (ours - expected).norm() <= 0.02 * expected.norm()


def test_unusable_parts_are_named(run_settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no Hugging Face model folder"):
        untrained_model(replace(run_settings, model=replace(run_settings.model, llm=str(tmp_path))))
    with pytest.raises(InputError, match=r"is no visual tokenizer: model\.safetensors is missing"):
        untrained_model(replace(run_settings, vision=replace(run_settings.vision, checkpoint=str(tmp_path))))
    with pytest.raises(InputError, match="has 60 tokens and the codebook 3 codes"):
        build_model(run_settings.model, VLVocabulary(60, 16), torch.randn(3, 6))
