"""Visual tokens in a text tokenizer: their ids, and that nothing else changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

import mmgic.toy
from mmgic.documents.encode import check_text_tokenizer, encode_texts
from mmgic.errors import InputError
from mmgic.model.text_tokenizer import load_text_tokenizer
from mmgic.model.visual_tokens import image_text, text_tokens, with_visual_tokens
from mmgic.model.vocabulary import VLVocabulary

TOY = load_text_tokenizer(Path(mmgic.toy.__file__).parent / "weights" / "llama")
VOCABULARY = VLVocabulary(len(TOY) + 5, 300)
EXTENDED = with_visual_tokens(TOY, VOCABULARY)


def test_ids_are_the_vocabularys_also_after_a_trip_to_disk(tmp_path: Path) -> None:
    EXTENDED.save_pretrained(tmp_path)
    for tokenizer in (EXTENDED, AutoTokenizer.from_pretrained(tmp_path), load_text_tokenizer(tmp_path)):
        assert len(tokenizer) == VOCABULARY.size
        assert text_tokens(tokenizer) == VOCABULARY.text_size
        for codes in ([], [0], [299, 0, 7, 7]):
            ids = tokenizer(image_text(codes), add_special_tokens=False)["input_ids"]
            assert ids == VOCABULARY.image_tokens(codes)
            assert tokenizer.decode(ids) == image_text(codes)
            assert tokenizer.decode(ids, skip_special_tokens=True) == ""


@given(st.text(max_size=60) | st.text(alphabet="[IMG/]<code_1>ab </s>", max_size=60))
@hypothesis_settings(deadline=None)
def test_texts_keep_their_ids(text: str) -> None:
    """Documents and prompts take what a text spells out for characters."""
    assert encode_texts(EXTENDED, [text, f"[IMG]{text}<code_5>"]) == encode_texts(TOY, [text, f"[IMG]{text}<code_5>"])
    if "[IMG]" not in text and "[/IMG]" not in text and "<code_" not in text and "<unused_" not in text:
        assert EXTENDED(text)["input_ids"] == TOY(text)["input_ids"]


def test_an_extended_tokenizer_is_extended_once() -> None:
    again = with_visual_tokens(EXTENDED, VOCABULARY)
    assert again.get_vocab() == EXTENDED.get_vocab()
    check_text_tokenizer(again, VOCABULARY.text_size)
    with pytest.raises(InputError, match="use the tokenizer that belongs to the language model"):
        with_visual_tokens(EXTENDED, VLVocabulary(VOCABULARY.text_size + 1, 300))


def test_a_tokenizer_with_an_img_token_of_its_own_is_refused_before_documents_are_made() -> None:
    taken = with_visual_tokens(TOY, VLVocabulary(len(TOY), 1))
    with pytest.raises(InputError, match=r"a token \[IMG\] of its own, with id 960, where the visual one has 1000"):
        check_text_tokenizer(taken, 1000)
