"""Documents and prompts of a LLaMA-2 folder against the sentencepiece library: what it reads in the ids is the text."""

from dataclasses import replace
from itertools import groupby

import pytest
import sentencepiece

from mmgic.documents import Descriptions, build_document, build_rounds_document
from mmgic.documents.interleaved import build_web_page
from mmgic.documents.pairs import build_pair
from mmgic.documents.prompts import caption_prompt, round_prompt
from mmgic.documents.writing import Writing
from mmgic.model.text_tokenizer import load_text_tokenizer
from mmgic.model.vocabulary import VLVocabulary
from mmgic.schema import row_id
from mmgic.settings import DocumentSettings
from mmgic.sources.rows import image_part, interleaved, text_part

CAPTION = "a red dog beside 2 cups, naïve </s> 日本"
ROW = {
    "row_id": row_id("toy", "1"),
    "source": "toy",
    "image_id": "1",
    "caption": CAPTION,
    "narrative": "In this image there is a dog.",
    "objects": [{"object_id": "1", "label": "dog"}, {"object_id": "2", "label": "cup"}],
    "attributes": [{"object_id": "1", "label": "red"}],
    "relationships": [{"subject_id": "1", "object_id": "2", "label": "on"}],
    "regions": [{"location": "Center", "labels": ["dog", "cup"], "codes": [7, 8]}],
    "codes": [1, 2, 3],
    "drops": [],
}
ANSWERED = [
    ([image_part(0), text_part("Is there a dog?")], [text_part("yes")]),
    ([text_part("Draw it.")], [text_part("Here: "), image_part(0)]),
    ([text_part("And this? "), image_part(0)], [text_part("no\nnot at all")]),
]


@pytest.fixture(scope="module")
def original(llama_2):
    return sentencepiece.SentencePieceProcessor(model_file=str(llama_2 / "tokenizer.model"))


@pytest.fixture(scope="module")
def writing(llama_2, original):
    return Writing(load_text_tokenizer(llama_2), VLVocabulary(len(original), 16), DocumentSettings(), seed=0)


def read(original, vocabulary, ids):
    """The text that the ids stand for, [IMG] for an image. A segment's first mark shows before its line break."""
    parts = []
    for visual, run in groupby(ids, key=vocabulary.is_visual):
        parts.append("[IMG]" if visual else original.decode(list(run)).replace(" \n", "\n"))
    return "".join(parts)


def documents(writing):
    described = Descriptions({"dog": "a furry animal"}, {}, {})
    for first in (0.0, 1.0):
        ordered = replace(writing, settings=DocumentSettings(image_first_prob=first, description_dropout=0.0))
        yield build_document(ROW, ordered, described, repeat=0, corpus="toy")
        yield build_pair(ROW, [4, 5], [f"Caption: {CAPTION}"], ordered, corpus="toy")
    page = [text_part("first"), image_part(0), text_part(CAPTION)]
    row = interleaved("mmc4", "9", 0, "interleaved", ["a.jpg"], [([], page)])
    row["images"][0]["codes"] = [6]
    yield build_web_page(row, writing, corpus="toy")


def test_documents_read_as_their_text(writing, original):
    start, end = original.bos_id(), original.eos_id()
    for document in documents(writing):
        assert document["keep"], document
        first, *ids, last = document["input_ids"]
        assert (first, last) == (start, end)
        assert read(original, writing.vocabulary, ids) == document["text"]


@pytest.mark.parametrize("task", ["image_conversation", "open_vqa", "image_editing"])
def test_rounds_read_as_their_text(writing, original, task):
    row = interleaved("chat", "9", 0, task, ["a.jpg"], ANSWERED)
    row["images"][0]["codes"] = [6, 7]
    document = build_rounds_document(row, writing, corpus="chat")
    assert len(document["answer_spans"]) == 3
    ids, rounds = document["input_ids"], []
    while ids:
        end = ids.index(original.eos_id())
        assert ids[0] == original.bos_id()
        rounds.append(read(original, writing.vocabulary, ids[1:end]))
        ids = ids[end + 1 :]
    assert rounds == document["text"].split("</s><s>")


def test_prompts_are_prefixes_of_documents(writing, original):
    settings = DocumentSettings(image_first_prob=1.0, recipe="C")
    writing = replace(writing, settings=settings)
    document = build_document(ROW, writing, Descriptions(), repeat=0, corpus="toy")
    prompt = caption_prompt(writing.tokenizer, writing.vocabulary, [1, 2, 3])
    assert document["input_ids"][: len(prompt)] == prompt
    after = original.decode(document["input_ids"][len(prompt) :])
    assert after.partition("\n")[0] == CAPTION

    row = interleaved("vqa", "9", 0, "open_vqa", ["a.jpg"], ANSWERED[:1])
    row["images"][0]["codes"] = [6, 7]
    document = build_rounds_document(row, writing, corpus="vqa")
    asked = {"images": [[6, 7]], "question": "Is there a dog?", "system_prompt": settings.system_prompt}
    prompt = round_prompt(writing.tokenizer, writing.vocabulary, task="open_vqa", **asked)
    assert document["input_ids"] == [*prompt, *original.encode("Yes"), original.eos_id()]
