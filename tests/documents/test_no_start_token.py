"""Documents and prompts of a tokenizer like Qwen's and Llama 3's: byte-level BPE after a pattern of its own; no <s>."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tokenizers import trainers
from transformers import PreTrainedTokenizerBase, Qwen2Tokenizer

from mmgic.documents import build_rounds_document
from mmgic.documents.cached_ids import cached_ids
from mmgic.documents.encode import check_text_tokenizer, encode_texts
from mmgic.documents.pairs import build_pair
from mmgic.documents.prompts import caption_prompt, line_stop_ids, option_ids, round_prompt
from mmgic.documents.writing import Writing
from mmgic.exported.chat_template import chat_template
from mmgic.model.text_tokenizer import load_text_tokenizer
from mmgic.model.visual_tokens import with_visual_tokens
from mmgic.model.vocabulary import VLVocabulary
from mmgic.settings import DocumentSettings
from mmgic.sources.captions.pairs import captioned_image
from mmgic.sources.rows import image_part, interleaved, text_part
from mmgic.toy.models.corpus import whole_texts

SYSTEM = "Be brief."


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    folder = tmp_path_factory.mktemp("qwen")
    backend = Qwen2Tokenizer().backend_tokenizer
    alphabet = [chr(i) for i in range(33, 127)] + [chr(i) for i in range(161, 324)]
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator([*whole_texts(5, 40), *[" Yes No [/INST]\n"] * 50], trainer)
    tokenizer = Qwen2Tokenizer(tokenizer_object=backend)
    tokenizer.add_tokens(["<tool_call>"])  # no special token, as in Qwen's
    tokenizer.save_pretrained(folder)
    return load_text_tokenizer(folder)


@pytest.fixture(scope="module")
def writing(qwen: PreTrainedTokenizerBase) -> Writing:
    """Of a language model whose table has more rows than its tokenizer has tokens, as Qwen's has."""
    settings = DocumentSettings(image_first_prob=1.0, system_prompt=SYSTEM)
    return Writing(qwen, VLVocabulary(len(qwen) + 7, 64), settings, 0)


@given(text=st.text(max_size=30) | st.sampled_from(["a dog\n- a  cat", " Yes", "e\u0301 <tool_call>", "1234.\n\n"]))
@hypothesis_settings(max_examples=60, deadline=None)
def test_ids_are_the_tokenizers_own(qwen: PreTrainedTokenizerBase, text: str) -> None:
    assert not cached_ids(qwen)._parted  # its words are not remembered one by one
    assert encode_texts(qwen, [text, text]) == [qwen(text, split_special_tokens=True)["input_ids"]] * 2


def test_documents_begin_with_their_text_and_prompts_are_their_prefixes(
    qwen: PreTrainedTokenizerBase, writing: Writing
) -> None:
    check_text_tokenizer(qwen, writing.vocabulary.text_size)
    row = captioned_image("cc3m", "7", 0)
    pair = build_pair(row, [1, 2], ["Caption: a dog", "more"], writing, corpus="ic")["input_ids"]
    assert pair == [
        *qwen("Image: ")["input_ids"],
        *writing.vocabulary.image_tokens([1, 2]),
        *qwen("\nCaption: a dog\nmore")["input_ids"],
        qwen.eos_token_id,
    ]
    asked = interleaved(
        "vqa", "9", 0, "open_vqa", ["a"], [([image_part(0), text_part("Is it?")], [text_part("yes")])] * 2
    )
    asked["images"][0]["codes"] = [1, 2]
    document = build_rounds_document(asked, writing, corpus="vqa")
    prompt = round_prompt(qwen, writing.vocabulary, "open_vqa", [[1, 2]], "Is it?", SYSTEM)
    [yes] = option_ids(qwen, ["Yes"])
    first, _ = document["answer_spans"]
    assert document["input_ids"][: first[1]] == [*prompt, *yes, qwen.eos_token_id]
    assert qwen.decode(caption_prompt(qwen, writing.vocabulary, [1])).startswith("# Detailed")
    assert all("\n" in qwen.decode([i]) for i in set(line_stop_ids(qwen)) - {qwen.eos_token_id})

    chat = with_visual_tokens(qwen, writing.vocabulary)
    chat.chat_template = chat_template(SYSTEM)
    content = [{"type": "image", "codes": [1, 2]}, {"type": "text", "text": "Is it?"}]
    made = chat.apply_chat_template([{"role": "user", "content": content}], task="open_vqa", return_dict=True)
    assert made["input_ids"] == prompt


def test_an_export_keeps_the_ids(qwen: PreTrainedTokenizerBase, writing: Writing, tmp_path: Path) -> None:
    with_visual_tokens(qwen, writing.vocabulary).save_pretrained(tmp_path)
    again = load_text_tokenizer(tmp_path)
    assert again.bos_token_id is None
    texts = ["a dog\n- <tool_call> cat.\n", " Yes", "\u00e9"]
    assert encode_texts(again, texts) == encode_texts(qwen, texts)
    assert again("[IMG]<code_3>[/IMG]")["input_ids"] == writing.vocabulary.image_tokens([3])
