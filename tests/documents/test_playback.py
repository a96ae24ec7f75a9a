"""MMGIC and LAION-COCO-Aesthetic played back as instructions (the last rows of Table 16)."""

import numpy as np
import pytest

from mmgic.documents import Descriptions
from mmgic.documents.playback import MakeAesthetic, play_back
from mmgic.documents.writing import Writing
from mmgic.settings import DocumentSettings
from mmgic.sources.captions.pairs import captioned_image
from mmgic.sources.rows import annotated_image
from mmgic.stages.sampling import draw_sample, sample_key

SYSTEM = "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n"
REGION = {"location": "Top Left", "labels": ["dog", "cup"], "codes": [3]}
DESCRIPTIONS = Descriptions({"dog": "a furry animal"})


def image_row(**columns):
    objects = [{"object_id": "1", "label": "dog"}, {"object_id": "2", "label": "cup"}]
    row = annotated_image("vg", "7", 0, caption="a dog at the beach.", objects=objects)
    return {**row, "codes": [1, 2], "regions": [REGION], **columns}


def build(order, tokenizer, vocabulary, row=None, **settings):
    return play_back(
        row or image_row(),
        order,
        Writing(tokenizer, vocabulary, DocumentSettings(system_prompt="Be brief.", **settings), seed=0),
        DESCRIPTIONS,
    )


def test_image_first(tokenizer, vocabulary):
    document = build("image_first", tokenizer, vocabulary, description_dropout=0.0)
    assert document["text"] == (
        f"{SYSTEM}[IMG] [/INST] Caption: a dog at the beach.\nObjects and their descriptions:\n"
        "- dog: a furry animal\n- cup</s><s>[INST] [IMG] [/INST] "
        "Location of the selected region in the image: Top Left\nObjects:\n- dog\n- cup"
    )
    assert (document["template"], document["corpus"], document["num_regions"]) == ("image_first", "playback", 1)
    assert document["with_descriptions"]
    for start, end in document["answer_spans"]:
        assert not vocabulary.is_visual(np.array(document["input_ids"][start:end])).any()


def test_text_first(tokenizer, vocabulary):
    document = build("text_first", tokenizer, vocabulary, description_dropout=1.0)
    assert document["text"] == (
        f"{SYSTEM}Objects:\n- dog\n- cup\nCaption: a dog at the beach. [/INST][IMG]</s><s>[INST] "
        "Location of the selected region in the image: Top Left\nObjects:\n- dog\n- cup [/INST][IMG]"
    )
    ids = document["input_ids"]
    spans = [ids[start:end] for start, end in document["answer_spans"]]
    end = [tokenizer.eos_token_id]
    assert spans == [vocabulary.image_tokens([1, 2]) + end, vocabulary.image_tokens([3]) + end]


@pytest.mark.parametrize("order", ["image_first", "text_first"])
def test_what_does_not_fit_goes_regions_first_then_descriptions(order, tokenizer, vocabulary):
    row = image_row(regions=[REGION] * 5)
    whole = build(order, tokenizer, vocabulary, row, description_dropout=0.0)
    assert whole["num_regions"] == 5
    fewer = build(order, tokenizer, vocabulary, row, description_dropout=0.0, max_tokens=len(whole["input_ids"]) - 1)
    assert (fewer["num_regions"], fewer["with_descriptions"]) == (4, True)
    bare = build(order, tokenizer, vocabulary, image_row(regions=[]), description_dropout=0.0)
    plain = build(order, tokenizer, vocabulary, row, description_dropout=0.0, max_tokens=len(bare["input_ids"]) - 1)
    assert not plain["with_descriptions"]
    assert build(order, tokenizer, vocabulary, row, max_tokens=16)["reason"] == "too_long"


def test_recipe_and_empty_images(tokenizer, vocabulary):
    captions = build("image_first", tokenizer, vocabulary, recipe="C")
    assert captions["text"] == f"{SYSTEM}[IMG] [/INST] Caption: a dog at the beach."
    sitting = image_row(attributes=[{"object_id": "1", "label": "sitting"}])
    objects = build("image_first", tokenizer, vocabulary, sitting, recipe="COD", description_dropout=0.0)
    assert objects["text"].endswith(
        "Caption: a dog at the beach.\nObjects and their descriptions:\n- dog: a furry animal\n- cup"
    )
    assert build("image_first", tokenizer, vocabulary, image_row(codes=[]))["reason"] == "no_visual_tokens"


def test_half_of_the_aesthetic_sample_is_captioned_and_half_is_drawn(tokenizer, vocabulary, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    rows = [{**captioned_image("laion", str(i), 0, caption_coco="a dog"), "codes": [1]} for i in range(20)]
    sample = draw_sample([np.array([row["row_id"] for row in rows])], 8, sample_key(0, "x"))
    make = MakeAesthetic(str(tmp_path), vocabulary, DocumentSettings(system_prompt="Be brief."), 0, sample)
    made = [make(row) for row in rows]
    texts = [document["text"] for document in made if document["keep"]]
    caption = f"{SYSTEM}[IMG]\nProvide a one-sentence caption for the provided image. [/INST] a dog"
    draw = f"{SYSTEM}Create an image that visually represents the description: a dog [/INST] Here is the image: [IMG]"
    assert (texts.count(caption), texts.count(draw), len(texts)) == (4, 4, 8)
    assert [document["reason"] for document in made].count("not_sampled") == 12
