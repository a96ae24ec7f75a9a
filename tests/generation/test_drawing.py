"""Drawing from text: what may be sampled, what guidance does, and the ids of an image."""

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from mmgic.errors import InputError
from mmgic.generation.drawing import ImageSampling, codes_from_ids, draw, draw_image, generate_codes, start_ids
from mmgic.model.vocabulary import VLVocabulary

VOCABULARY = VLVocabulary(30, 40)
PROMPT = [1, 5, 9, 7]


@pytest.fixture(scope="module")
def llama():
    config = LlamaConfig(
        vocab_size=VOCABULARY.size,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.2)
    return model


def sampling(**changes):
    return ImageSampling(**{"min_codes": 3, "max_codes": 12, **changes})


def test_only_codes_come_out_and_as_many_as_allowed(llama):
    lengths = []
    for seed in range(20):
        codes = generate_codes(llama, VOCABULARY, PROMPT, sampling(), seed)
        assert all(0 <= code < 40 for code in codes)
        lengths.append(len(codes))
    assert all(3 <= length <= 12 for length in lengths)
    assert len(set(lengths)) > 1


def test_an_end_that_is_certain_waits_for_the_least_number(llama):
    head = llama.lm_head.weight
    kept = head.detach().clone()
    with torch.no_grad():
        hidden = llama.model(torch.tensor([[*PROMPT, VOCABULARY.img]])).last_hidden_state[0, -1]
        head[:] = 0
        head[VOCABULARY.end_img] = 100 * hidden / hidden.norm() ** 2
        head[3] = 200 * hidden / hidden.norm() ** 2  # a text token that is likelier still
    try:
        assert len(generate_codes(llama, VOCABULARY, PROMPT, sampling(guidance=1, min_codes=0), 0)) == 0
        assert len(generate_codes(llama, VOCABULARY, PROMPT, sampling(guidance=1, min_codes=1), 0)) >= 1
    finally:
        with torch.no_grad():
            head.copy_(kept)


def test_only_lavits_prompts_have_no_start(llama):
    """Its config has [IMG] as the token that a text starts with."""
    assert start_ids(llama.config, VOCABULARY, 1) == [1]
    assert start_ids(LlamaConfig(bos_token_id=32000), VLVocabulary(32000, 16384), 1) == []


def test_guidance_is_a_number(llama):
    with pytest.raises(InputError, match="guidance of the model's codes is nan"):
        generate_codes(llama, VOCABULARY, PROMPT, sampling(guidance=float("nan")))


def test_codes_belong_to_seed_and_name(llama):
    first, again, other, named = (
        generate_codes(llama, VOCABULARY, PROMPT, sampling(), seed, name)
        for seed, name in ((4, ""), (4, ""), (5, ""), (4, "b"))
    )
    assert first == again
    assert first not in (other, named)


def test_guided_greedy_codes_are_those_of_whole_sequences(llama):
    """Without cache: u + s (c - u) of log-probabilities over [prompt, IMG, codes] and over [IMG, codes] alone."""
    codes = generate_codes(llama, VOCABULARY, PROMPT, sampling(top_k=1, guidance=3.0, min_codes=12), 0)
    expected = []
    for _ in range(12):
        tail = [VOCABULARY.img, *(VOCABULARY.first_code + code for code in expected)]
        with torch.inference_mode():
            c, u = (llama(torch.tensor([ids])).logits[0, -1].log_softmax(-1) for ids in (PROMPT + tail, tail))
        expected.append(int((u + 3 * (c - u))[VOCABULARY.first_code :].argmax()))
    assert codes == expected
    plain = generate_codes(llama, VOCABULARY, PROMPT, sampling(top_k=1, guidance=0.0, min_codes=12), 0)
    assert plain == generate_codes(llama, VOCABULARY, [2, 2], sampling(top_k=1, guidance=0.0, min_codes=12), 0)


def test_draws_follow_the_distribution_inside_top_k_and_top_p():
    scores = torch.tensor([0.5, 0.1, 0.25, 0.15]).log()
    generator = np.random.default_rng(0)

    def share(**changes):
        drawn = [draw(scores, ImageSampling(**changes), generator) for _ in range(4000)]
        return np.bincount(drawn, minlength=4) / 4000

    assert np.allclose(share(), [0.5, 0.1, 0.25, 0.15], atol=0.03)
    assert np.allclose(share(top_k=2), [2 / 3, 0, 1 / 3, 0], atol=0.03)
    assert np.allclose(share(top_p=0.6), [2 / 3, 0, 1 / 3, 0], atol=0.03)
    assert np.allclose(share(temperature=1e-3), [1, 0, 0, 0])


@pytest.mark.parametrize("wrapped", [True, False])
def test_ids_of_an_image(wrapped):
    ids = VOCABULARY.image_tokens([0, 39, 7])
    assert codes_from_ids(ids if wrapped else ids[1:-1], VOCABULARY) == [0, 39, 7]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([30, 33, 5, 31], "id 5, number 1 of the image, is a text token; visual codes are 32 to 71"),
        ([33, 30, 34], "id 30, number 1 of the image, is no visual code"),
        ([72], "id 72, number 0 of the image, is no visual code"),
        ([-1], "id -1, number 0 of the image, is no visual code"),
    ],
)
def test_ids_that_are_no_codes(ids, message):
    with pytest.raises(InputError, match=message):
        codes_from_ids(ids, VOCABULARY)


def test_models_that_do_not_fit(llama):
    with pytest.raises(InputError, match="72 token ids instead of 73"):
        generate_codes(llama, VLVocabulary(30, 41), PROMPT, sampling())
    with pytest.raises(InputError, match="exceed the model's 64 positions"):
        generate_codes(llama, VOCABULARY, PROMPT, sampling(max_codes=60))


def test_text_to_image(llama, tiny_pixels):
    pixels = tiny_pixels(codes=40)
    options = {"steps": 2, "sampling": sampling()}
    pictures = [draw_image(llama, VOCABULARY, pixels, PROMPT, seed=seed, **options) for seed in (0, 0, 1)]
    assert [picture.size for picture in pictures] == [(16, 16)] * 3
    assert pictures[0].tobytes() == pictures[1].tobytes() != pictures[2].tobytes()
    with pytest.raises(InputError, match="reads 41 codes, the model 40"):
        draw_image(llama, VOCABULARY, tiny_pixels(codes=41), PROMPT, **options)
