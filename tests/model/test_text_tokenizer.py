"""LLaMA-2's tokenizer, from whichever of its files a folder holds, against the sentencepiece library itself."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from mmgic.documents.encode import check_text_tokenizer, encode_continuation, encode_texts
from mmgic.documents.prompts import line_stop_ids, option_ids
from mmgic.errors import InputError
from mmgic.model.text_tokenizer import load_text_tokenizer, text_tokenizer_files
from mmgic.toy.models.corpus import whole_texts

# what each folder lacks of LLaMA-2's four files
LAYOUTS = {
    "all": (),
    "sentencepiece": ("tokenizer.json",),
    "sentencepiece alone": ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    "json": ("tokenizer.model",),
}
TEXTS = [
    "Hello dog",
    " Yes",
    "  two",
    "\n",
    "\n## Overview of Selected Object Regions",
    "\nCaption: a dog",
    "# Detailed Analysis of Objects in the Image\n\nImage: ",
    "é 日本 \U0001f600",  # characters that training never saw: their bytes
    "</s> in <s> text",
    "<unk>",
    "a\tb",
    "▁x ▁",
    "12345 007",
    "",
    " ",
    "    ",
    "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n",
    " [/INST]",
    "\r\nwindows",
    "\u200bzero width",
    "<0x0A>",
    "no\u00a0break",
    "trailing  ",
]


@pytest.fixture(scope="module", params=LAYOUTS)
def folder(request: pytest.FixtureRequest, llama_2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("layout") / "llama"
    shutil.copytree(llama_2, copy)
    for name in LAYOUTS[request.param]:
        (copy / name).unlink()
    return copy


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    return load_text_tokenizer(folder)


@pytest.fixture(scope="module")
def original(llama_2: Path) -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(model_file=str(llama_2 / "tokenizer.model"))


def test_ids_are_those_of_sentencepiece(
    tokenizer: PreTrainedTokenizerBase, original: sentencepiece.SentencePieceProcessor
) -> None:
    generator = random.Random(0)
    characters = "abcdefghijklmnopqrstuvwxyz    .,:#-[]{}()/0123456789\n\n\té日😀AB<>s_"
    drawn = ["".join(generator.choices(characters, k=generator.randint(0, 60))) for _ in range(2000)]
    texts = [*TEXTS, *whole_texts(5, 40), *drawn]
    encoded = encode_texts(tokenizer, texts)
    for text, ids in zip(texts, encoded, strict=True):
        assert ids == original.encode(text), text
        assert tokenizer.decode(ids) == original.decode(ids) == text.replace("▁", " "), text


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=40))
def test_any_text_is_encoded_as_sentencepiece_does_it(
    text: str, tokenizer: PreTrainedTokenizerBase, original: sentencepiece.SentencePieceProcessor
) -> None:
    assert encode_texts(tokenizer, [text]) == [original.encode(text)]


def test_special_tokens_are_known_and_never_come_out_of_a_text(tokenizer: PreTrainedTokenizerBase) -> None:
    assert (tokenizer.unk_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1, 2)
    assert tokenizer("a dog")["input_ids"][0] == 1  # whoever uses the tokenizer by itself gets LLaMA's <s>
    for text in ("<s>", "</s>", "<unk>", "a</s>b"):
        (ids,) = encode_texts(tokenizer, [text])
        assert not {0, 1, 2} & set(ids)
        assert tokenizer.decode(ids) == text


def test_a_caption_ends_with_its_line(tokenizer: PreTrainedTokenizerBase) -> None:
    """sentencepiece has no token of a line break but its byte's."""
    assert line_stop_ids(tokenizer) == [2, tokenizer.convert_tokens_to_ids("<0x0A>")]
    (ids,) = encode_texts(tokenizer, ["a dog\nObjects:"])
    assert tokenizer.decode(ids[: ids.index(line_stop_ids(tokenizer)[1])]) == "a dog"


def test_options_are_single_tokens_and_continue_a_prompt(tokenizer: PreTrainedTokenizerBase) -> None:
    [yes], [no] = option_ids(tokenizer, ["Yes", "No"])
    assert tokenizer.convert_ids_to_tokens([yes, no]) == ["▁Yes", "▁No"]
    assert encode_continuation(tokenizer, "Is it? [/INST]", " Yes")[1] == [yes]


def test_an_export_keeps_the_ids_whoever_loads_it(
    tokenizer: PreTrainedTokenizerBase, original: sentencepiece.SentencePieceProcessor, tmp_path: Path
) -> None:
    tokenizer.save_pretrained(tmp_path / "saved")
    for again in (AutoTokenizer.from_pretrained(tmp_path / "saved"), load_text_tokenizer(tmp_path / "saved")):
        assert encode_texts(again, TEXTS) == [original.encode(text) for text in TEXTS]
        assert again("a dog")["input_ids"] == [1, *original.encode("a dog")]
        assert again.special_tokens_map == {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def test_a_chat_template_comes_along(llama_2: Path, tmp_path: Path) -> None:
    load_text_tokenizer(llama_2).save_pretrained(tmp_path / "saved")
    again = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert again.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False) == "<s>[INST] Hi [/INST]"


def test_a_fingerprint_is_of_every_file_that_ids_depend_on(folder: Path) -> None:
    names = {"tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"}
    assert {path.name for path in text_tokenizer_files(folder)} == {p.name for p in folder.iterdir()} & names


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no tokenizer"),
        ({"tokenizer_config.json": '{"tokenizer_class": "LlamaTokenizer"}'}, "holds no tokenizer"),
        ({"tokenizer.json": "<html>"}, "cannot be used"),
        ({"tokenizer.model": "version https://git-lfs"}, "cannot be used"),
        ({"tokenizer.model": ""}, "has no tokens"),
    ],
)
def test_a_folder_without_a_usable_tokenizer_is_refused(
    files: dict[str, str], message: str, llama_2: Path, tmp_path: Path
) -> None:
    shutil.copy(llama_2 / "config.json", tmp_path)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message) as error:
        load_text_tokenizer(tmp_path)
    assert "\n" not in str(error.value)
    assert "model.llm" in str(error.value)


def test_a_tokenizer_of_another_model_is_refused(llama_2: Path, tmp_path: Path) -> None:
    """A token beyond the model's vocabulary would have the id of [IMG]."""
    shutil.copytree(llama_2, tmp_path / "llama")
    size = json.loads((llama_2 / "config.json").read_text())["vocab_size"]
    check_text_tokenizer(load_text_tokenizer(llama_2), size)
    content = json.loads((llama_2 / "tokenizer.json").read_text())
    content["added_tokens"].append({**content["added_tokens"][0], "id": size, "content": "<pad>"})
    (tmp_path / "llama" / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"has {size + 1:,} tokens but its language model {size:,}"):
        check_text_tokenizer(load_text_tokenizer(tmp_path / "llama"), size)
