import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmgic.errors import InputError
from mmgic.model.vocabulary import VLVocabulary


def test_llama_2_with_lavit():
    vocabulary = VLVocabulary(32000, 16384)
    assert (vocabulary.img, vocabulary.end_img, vocabulary.size) == (32000, 32001, 48386)
    assert vocabulary.code_to_id(0) == 32002
    assert vocabulary.code_to_id(16383) == 48385
    assert vocabulary.image_tokens([0, 16383]) == [32000, 32002, 48385, 32001]


@given(st.integers(1, 100), st.integers(1, 100), st.data())
def test_ids_are_disjoint_and_codes_round_trip(text_size, num_codes, data):
    vocabulary = VLVocabulary(text_size, num_codes)
    ids = np.arange(vocabulary.size)
    assert vocabulary.is_visual(ids).sum() == num_codes + 2
    code = data.draw(st.integers(0, num_codes - 1))
    for value in (code, np.array([code]), torch.tensor([code])):
        assert vocabulary.id_to_code(vocabulary.code_to_id(value)) == value
        assert vocabulary.is_visual(vocabulary.code_to_id(value))
        assert vocabulary.code_to_id(value) not in (vocabulary.img, vocabulary.end_img)


@pytest.mark.parametrize("codes", [[0, 8], [-1]])
def test_codes_of_another_codebook_are_refused(codes):
    with pytest.raises(InputError, match="codebook has 8 entries"):
        VLVocabulary(10, 8).image_tokens(codes)
