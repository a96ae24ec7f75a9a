"""Prompts for captions and pictures are beginnings of the documents that each corpus is trained on."""

import pytest

from mmgic.descriptions.reading import Descriptions
from mmgic.documents.interleaved import build_interleaved
from mmgic.documents.multi_grained import build_document
from mmgic.documents.pairs import build_pair
from mmgic.documents.prompts import caption_prompt, drawing_prompt
from mmgic.documents.rounds import build_rounds_document
from mmgic.documents.writing import Writing
from mmgic.settings import DocumentSettings
from mmgic.sources.captions.pairs import captioned_image
from mmgic.sources.rows import annotated_image, image_part, interleaved, text_part

CAPTION, CODES = "a brown dog at the beach", [3, 1]


def rounds(task, writing, asked, answered):
    row = interleaved("x", "7", 0, task, ["a.jpg"], [(asked, answered)])
    row["images"][0]["codes"] = CODES
    build = build_interleaved if task == "interleaved" else build_rounds_document
    return build(row, writing, corpus="x")


def document(form, writing, image_first):
    """A document of the corpus `form` with one image and its caption."""
    if form == "mmgic":
        row = annotated_image("x", "7", 0, caption=CAPTION)
        row = {**row, "codes": CODES, "regions": []}
        return build_document(row, writing, Descriptions(), repeat=0, corpus="x")
    if form == "ic":
        row = captioned_image("cc3m", "7", 0)
        return build_pair(row, CODES, [f"Caption: {CAPTION}"], writing, corpus="x")
    image, text = image_part(0), text_part(CAPTION)
    if form == "mmc4":  # in its rows each image precedes its sentence
        return rounds("interleaved", writing, [], [image, text])
    if image_first:
        return rounds("image_caption", writing, [image], [text])
    return rounds("text_to_image", writing, [text], [image])


@pytest.mark.parametrize("form", ["mmgic", "ic", "mmc4", "sft"])
def test_a_prompt_is_how_a_document_of_its_corpus_begins(form, tokenizer, vocabulary):
    def writing(image_first_prob):
        settings = DocumentSettings(
            image_first_prob=image_first_prob, single_image_prob=1.0, recipe="C", system_prompt="Be brief."
        )
        return Writing(tokenizer, vocabulary, settings, seed=0)

    image, system = vocabulary.image_tokens(CODES), "Be brief."
    shown = document(form, writing(1.0), image_first=True)["input_ids"]
    prompt = caption_prompt(tokenizer, vocabulary, CODES, form, system)
    assert shown[: len(prompt)] == prompt
    assert tokenizer.decode(shown[len(prompt) :], skip_special_tokens=True).strip() == CAPTION

    drawn = document(form, writing(0.0), image_first=False)["input_ids"]
    prompt = drawing_prompt(tokenizer, CAPTION, form, system)
    assert drawn == [tokenizer.bos_token_id, *prompt, *image, tokenizer.eos_token_id]
