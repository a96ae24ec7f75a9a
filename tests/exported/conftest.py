"""Tokenizers of the kinds that matter: byte-level BPE, LLaMA-2's sentencepiece, and a Metaspace step."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

import mmgic.toy
from mmgic.model.text_tokenizer import load_text_tokenizer
from mmgic.model.vocabulary import VLVocabulary


@pytest.fixture(scope="session", params=["byte_level", "llama", "metaspace"])
def tokenizer(request) -> PreTrainedTokenizerBase:
    if request.param == "metaspace":
        return metaspace()
    toy = Path(mmgic.toy.__file__).parent / "weights" / "llama"
    return load_text_tokenizer(toy if request.param == "byte_level" else request.getfixturevalue("llama_2"))


def metaspace() -> PreTrainedTokenizerBase:
    """Words of single characters, the first of a text marked as LLaMA's newer tokenizers mark it."""
    characters = ["<unk>", "<s>", "</s>", "▁", *(chr(i) for i in range(32, 127)), "é", "\n"]
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(characters)}, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


@pytest.fixture(scope="session")
def vocabulary(tokenizer) -> VLVocabulary:
    """Of a language model with some more ids than its tokenizer."""
    return VLVocabulary(len(tokenizer) + 3, 64)
