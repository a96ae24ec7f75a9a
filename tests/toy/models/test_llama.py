from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, LlamaForCausalLM

import mmgic.toy
from mmgic.documents.prompts import caption_prompt, option_ids
from mmgic.model.vocabulary import VLVocabulary
from mmgic.toy.models.corpus import passages
from mmgic.toy.models.llama import LlamaRun, answer_accuracy, encode_scene, train_llama, train_tokenizer
from mmgic.toy.world import words
from mmgic.toy.world.scenes import make_scene

PACKAGED = Path(mmgic.toy.__file__).parent / "weights" / "llama"
SMALL = LlamaRun(seed=3, tokenizer_scenes=40, vocabulary=400, hidden=32, layers=1, heads=1, mlp_hidden=64, steps=6)


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(PACKAGED)


@pytest.fixture(scope="module")
def llama():
    return LlamaForCausalLM.from_pretrained(PACKAGED).eval()


@given(text=st.text(max_size=60))
@hypothesis_settings(max_examples=100, deadline=None)
def test_tokenizer_reads_back_what_it_wrote(tokenizer, text):
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert all(i not in tokenizer.all_special_ids for i in ids)


def test_packaged_tokenizer_and_model_fit(tokenizer, llama):
    assert llama.config.vocab_size == len(tokenizer)
    assert not llama.config.tie_word_embeddings
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == ("<s>", "</s>", "<pad>")
    assert tokenizer("A red car.")["input_ids"][0] == tokenizer.bos_token_id
    assert list(map(len, option_ids(tokenizer, ["Yes", "No"]))) == [1, 1]
    common = {*words.CATEGORIES, *words.COLOURS}
    assert [word for word in common if len(tokenizer.tokenize(f" {word}")) > 1] == []


def test_packaged_llama_knows_the_wording(tokenizer, llama):
    # scenes of another world than the one it was trained on; a uniform guess costs ln 960 = 6.9 a token
    losses = []
    for index in range(0, 40, 4):
        ids = torch.tensor([encode_scene(tokenizer, 5, index)[0]])
        with torch.no_grad():
            losses.append(llama(input_ids=ids, labels=ids).loss.item())
    assert sum(losses) / len(losses) < 1.5


def test_packaged_llama_continues_a_caption_prompt_with_a_caption(tokenizer, llama):
    prompt = caption_prompt(tokenizer, VLVocabulary(len(tokenizer), 4), [])
    words_alone = torch.tensor([[i for i in prompt if i < len(tokenizer)]])
    ids = llama.generate(words_alone, max_new_tokens=60, do_sample=False)[0, words_alone.shape[1] :]
    line = tokenizer.decode(ids, skip_special_tokens=True).split("\n")[0].strip()
    assert line.endswith(".")
    assert any(name in line.rstrip(".").split() for name in words.CATEGORIES)


def test_accuracy_counts_every_question_of_the_scenes(tokenizer, llama):
    accuracy = answer_accuracy(LlamaRun(seed=5, steps=0), llama, tokenizer, scenes=8)
    assert set(accuracy) == {"existence", "colour"}
    assert accuracy["existence"] > 0.9  # the packaged model reads what it is told


@given(index=st.integers(0, 10**6))
@hypothesis_settings(max_examples=40, deadline=None)
def test_corpus_tells_the_truth(index):
    scene = make_scene(4, "train", index)
    for passage in passages(4, index):
        if not passage.context:
            assert passage.answer[0].startswith("# Detailed Analysis of Objects in the Image\n")
            continue
        question = passage.context[-1].split("?")[0].split("\n")[-1].removeprefix("[INST] ").split()
        named = next(name for name in words.CATEGORIES if name in question)
        if question[0] == "Is":
            assert passage.answer == ((" Yes",) if named in scene.categories else (" No",))
        else:
            assert passage.answer == (f" {scene.things[scene.categories.index(named)].colour.capitalize()}",)


def test_answers_of_instructions_stand_before_their_end(tokenizer):
    ids, answers = encode_scene(tokenizer, seed=4, index=1)
    places = [i for i, answer in enumerate(answers) if answer >= 0]
    assert [ids[i] for i in places] == [answers[i] for i in places]
    assert [ids[i + 1] for i in places] == [tokenizer.eos_token_id] * len(places)
    assert ids.count(tokenizer.bos_token_id) == ids.count(tokenizer.eos_token_id) == len(places) > 2
    ids, answers = encode_scene(tokenizer, seed=4, index=0)
    assert (ids[0], ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert set(answers) == {-100}


def test_training_is_a_function_of_the_seed():
    losses = []
    models = []
    for _ in range(2):
        trained = train_llama(SMALL, train_tokenizer(SMALL), lambda *loss: losses.append(loss))
        models.append(trained.state_dict())
    assert losses[:6] == losses[6:]
    assert all(torch.equal(models[0][key], models[1][key]) for key in models[0])
    assert losses[5][1] < losses[0][1]
