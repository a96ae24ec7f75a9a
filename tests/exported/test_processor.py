"""The folder of an exported model in Transformers' own classes, and the scripts of its card."""

from __future__ import annotations

import re
import shutil
from copy import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForCausalLM, AutoProcessor, AutoTokenizer, GenerationConfig

import mmgic.toy
from mmgic.cli import main
from mmgic.documents.prompts import caption_prompt, round_prompt
from mmgic.errors import InputError
from mmgic.evaluation.exported_model import load_vocabulary
from mmgic.exported.processor import MMGICProcessor
from mmgic.settings import Settings, merge
from mmgic.training.export import export_untrained
from mmgic.vision.folders import load_tokenizer

WEIGHTS = Path(mmgic.toy.__file__).parent / "weights"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported toy model, with a picture beside its card."""
    settings = merge(
        Settings(preset="trial"),
        {
            "vision": {"checkpoint": str(WEIGHTS / "tokenizer"), "pixels": str(WEIGHTS / "pixels")},
            "model": {"llm": str(WEIGHTS / "llama"), "lora_rank": 2, "dtype": "float32"},
            "documents": {"system_prompt": "Be brief."},
        },
    )
    folder = export_untrained(settings, tmp_path_factory.mktemp("exported") / "model")
    picture = Image.new("RGB", (80, 60), "white")
    picture.paste((200, 30, 30), (10, 10, 40, 50))
    picture.save(folder / "photo.jpg")
    return folder


@pytest.fixture(scope="module")
def processor(folder: Path) -> MMGICProcessor:
    return AutoProcessor.from_pretrained(folder)


def scripts(folder: Path) -> list[str]:
    card = (folder / "README.md").read_text(encoding="utf-8")
    return [block for block in re.findall(r"```python\n(.*?)```", card, re.DOTALL) if "import" in block]


def test_the_scripts_of_the_card_run_as_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    texts = scripts(folder)
    assert [len(text.splitlines()) <= 10 for text in texts] == [True, True]
    for text in texts:
        exec(compile(text, "README.md", "exec"), {})
    said = capsys.readouterr().out.strip()
    assert said
    assert "\n" not in said
    with Image.open("drawn.png") as drawn:
        assert drawn.size == (64, 64)
    assert main(["caption", "photo.jpg", "--model", str(folder)]) == 0
    assert capsys.readouterr().out.strip() == said, "the command says what the script says"


def test_the_folder_holds_what_transformers_looks_for(folder: Path) -> None:
    vocabulary, generation = load_vocabulary(folder), GenerationConfig.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert (generation.bos_token_id, generation.eos_token_id) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert tokenizer.convert_tokens_to_ids(["[IMG]", "[/IMG]", "<code_0>", "<code_511>"]) == [960, 961, 962, 1473]
    assert vocabulary.size == len(tokenizer) == 1474
    assert not list(folder.rglob("*.bin"))
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: transformers\n")


def test_images_stand_in_texts_and_chats(folder: Path, processor: MMGICProcessor) -> None:
    vocabulary = load_vocabulary(folder)
    assert processor.vocabulary == vocabulary
    with Image.open(folder / "photo.jpg") as image:
        picture = image.convert("RGB")
    [codes] = processor.image_processor(picture)["codes"]
    assert codes
    assert processor.image_processor([picture.convert("RGBA")])["codes"] == [codes]

    read = processor(picture, processor.caption_prompt, add_special_tokens=False, return_tensors="pt")
    assert read["input_ids"].tolist() == [caption_prompt(processor.tokenizer, vocabulary, codes)]
    assert read.keys() == {"input_ids", "attention_mask"}
    tuned = copy(processor)
    tuned.form = "sft"
    read = tuned(picture, tuned.caption_prompt, add_special_tokens=False)["input_ids"]
    assert read == [caption_prompt(processor.tokenizer, vocabulary, codes, "sft", "Be brief.")]

    shown = {"type": "image", "path": str(folder / "photo.jpg")}
    messages = [{"role": "user", "content": [shown, {"type": "text", "text": "What is it?"}]}]
    asked = processor.apply_chat_template(messages, task="open_vqa", tokenize=True, return_dict=True)["input_ids"]
    assert asked == [round_prompt(processor.tokenizer, vocabulary, "open_vqa", [codes], "What is it?", "Be brief.")]


def test_supervised_tokens_are_found_after_images_too(folder: Path, processor: MMGICProcessor) -> None:
    messages = [
        {"role": "user", "content": [{"type": "image", "path": str(folder / "photo.jpg")}]},
        {"role": "assistant", "content": "A dog."},
    ]
    made = processor.apply_chat_template(
        messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True, return_tensors="pt"
    )
    supervised = made["input_ids"][0][made["assistant_masks"][0].bool()]
    assert processor.decode(supervised) == f" A dog.{processor.tokenizer.eos_token}"


def test_tokens_become_pictures_again(folder: Path, processor: MMGICProcessor) -> None:
    vocabulary = load_vocabulary(folder)
    ids = [5, *vocabulary.image_tokens([3, 9, 200]), 7, vocabulary.img, vocabulary.first_code]
    pictures = processor.decode_images(torch.tensor(ids), steps=2)
    assert [picture.size for picture in pictures] == [(64, 64)] * 2
    [again] = processor.decode_images(ids[1:6], pixels=str(WEIGHTS / "pixels"), steps=2)
    # sums of another batch size round otherwise
    np.testing.assert_allclose(np.asarray(again, int), np.asarray(pictures[0], int), atol=2)


def test_a_saved_processor_is_whole(folder: Path, processor: MMGICProcessor, tmp_path: Path) -> None:
    processor.save_pretrained(tmp_path)
    again = AutoProcessor.from_pretrained(tmp_path)
    with Image.open(folder / "photo.jpg") as image:
        assert again.image_processor(image) == processor.image_processor(image)
    assert again.chat_template == processor.chat_template
    assert again.tokenizer.get_vocab() == processor.tokenizer.get_vocab()


def test_what_cannot_be_read_is_said(folder: Path, processor: MMGICProcessor, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the text has 0 places for images \(\[IMG\]\[/IMG\]\), but 1 are given"):
        processor(Image.new("RGB", (8, 8)), "no place")
    with pytest.raises(InputError, match=r"1 places for images .*, but 0 are given"):
        processor(text=processor.caption_prompt)
    shutil.copytree(folder, tmp_path / "old", ignore=shutil.ignore_patterns("visual_tokenizer", "pixels"))
    old = MMGICProcessor.from_pretrained(tmp_path / "old")
    with pytest.raises(InputError, match="holds no visual_tokenizer, which reads images; export the model again"):
        old.image_processor(Image.new("RGB", (8, 8)))
    with pytest.raises(InputError, match="give one for these codes as pixels=FOLDER"):
        old.decode_images([1])


def test_questions_are_answered(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask = ["ask", str(folder / "photo.jpg"), "Is there a dog in the image?", "--model", str(folder)]
    assert main([*ask, "--max-new-tokens", "3"]) == 0
    short = capsys.readouterr().out
    assert short.count("\n") == 1
    assert main([*ask, "--task", "image_conversation", "--system-prompt", "", "--max-new-tokens", "3"]) == 0
    assert capsys.readouterr().out.strip()
    assert main(["ask", str(folder / "absent.jpg"), "What?", "--model", str(folder)]) == 2
    assert "absent.jpg cannot be used: no such file" in capsys.readouterr().err


def test_the_model_is_whole(folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.config.vocab_size == 1474
    assert load_tokenizer(folder / "visual_tokenizer").config.codebook_size == 512
