"""IC's documents (G.3) and those of MMC4 (C.6), by MM-Interleaved's procedure."""

from collections import Counter

import pytest

from mmgic.documents.interleaved import build_interleaved
from mmgic.documents.pairs import build_pair
from mmgic.documents.writing import Writing
from mmgic.settings import DocumentSettings
from mmgic.sources.captions.pairs import captioned_image
from mmgic.sources.rows import image_part, interleaved, text_part

CAPTIONS = ["Caption: a dog", "Detailed caption: a brown dog at the beach"]


def pair(tokenizer, vocabulary, captions=CAPTIONS, codes=(1, 2), record="7", **settings):
    writing = Writing(tokenizer, vocabulary, DocumentSettings(**settings), seed=0)
    return build_pair(captioned_image("cc3m", record, 0), codes, captions, writing, corpus="ic")


def test_both_orders_of_the_ic_template(tokenizer, vocabulary):
    first = pair(tokenizer, vocabulary, image_first_prob=1.0)
    last = pair(tokenizer, vocabulary, image_first_prob=0.0)
    assert first["text"] == "Image: [IMG]\nCaption: a dog\nDetailed caption: a brown dog at the beach"
    assert last["text"] == "Caption: a dog\nDetailed caption: a brown dog at the beach\nImage: [IMG]"
    for document, order in ((first, "image_first"), (last, "text_first")):
        ids = document["input_ids"]
        assert (document["template"], document["corpus"], document["answer_spans"]) == (order, "ic", [])
        assert (ids[0], ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
        assert (document["num_visual_tokens"], document["num_text_tokens"]) == (2, len(ids) - 2)
    assert last["input_ids"][-5:-1] == vocabulary.image_tokens([1, 2])


def test_a_record_draws_its_order_once_and_half_of_them_draw_each(tokenizer, vocabulary):
    orders = [pair(tokenizer, vocabulary, record=str(i))["template"] for i in range(200)]
    assert orders == [pair(tokenizer, vocabulary, record=str(i))["template"] for i in range(200)]
    assert 70 < orders.count("image_first") < 130


def test_pairs_that_cannot_be_documents(tokenizer, vocabulary):
    assert pair(tokenizer, vocabulary, codes=())["reason"] == "no_visual_tokens"
    assert pair(tokenizer, vocabulary, captions=[])["reason"] == "no_caption"
    length = len(pair(tokenizer, vocabulary)["input_ids"])
    assert pair(tokenizer, vocabulary, max_tokens=length)["keep"]
    assert pair(tokenizer, vocabulary, max_tokens=length - 1)["reason"] == "too_long"


def web_page(parts, codes, tokenizer, vocabulary, task="interleaved", record="p", **settings):
    settings = {"image_first_prob": 1.0, "single_image_prob": 1.0, **settings}
    row = interleaved("mmc4", record, 0, task, ["x"] * len(codes), [([], parts)])
    for image, own in zip(row["images"], codes, strict=True):
        image["codes"] = list(own)
    writing = Writing(tokenizer, vocabulary, DocumentSettings(**settings), seed=0)
    return build_interleaved(row, writing, corpus="mmc4")


PAGE = [text_part("Hello."), image_part(0), text_part("A dog."), image_part(1), text_part("A cat.")]


def test_a_web_page_keeps_its_order_and_all_of_it_is_supervised(tokenizer, vocabulary):
    document = web_page(PAGE, [[1], [2, 3]], tokenizer, vocabulary)
    assert document["text"] == "Hello.[IMG]\nA dog.[IMG]\nA cat."
    assert (document["template"], document["answer_spans"], document["num_visual_tokens"]) == ("interleaved", [], 3)


def test_a_long_page_is_cut_between_parts(tokenizer, vocabulary):
    whole = web_page(PAGE, [[1], [2, 3]], tokenizer, vocabulary)
    for room in range(1, len(whole["input_ids"]) + 1):
        document = web_page(PAGE, [[1], [2, 3]], tokenizer, vocabulary, max_tokens=room)
        if not document["keep"]:
            assert document["reason"] == "too_long"
            continue
        ids = document["input_ids"]
        assert len(ids) <= room
        assert ids[:-1] == whole["input_ids"][: len(ids) - 1]
        assert whole["text"].startswith(document["text"])
        cut = {drop["reason"]: drop["count"] for drop in document["drops"]}.get("part_cut", 0)
        assert len(PAGE) - cut == document["text"].count(".") + document["text"].count("[IMG]")
    assert document == whole


def test_images_without_codes_are_left_out_and_pages_without_any_set_aside(tokenizer, vocabulary):
    document = web_page(PAGE, [[], [2]], tokenizer, vocabulary)
    assert document["text"] == "Hello.\nA dog.[IMG]\nA cat."
    assert web_page(PAGE, [[], []], tokenizer, vocabulary)["reason"] == "no_visual_tokens"


def test_images_stand_before_or_after_their_sentence(tokenizer, vocabulary):
    after = web_page(PAGE, [[1], [2, 3]], tokenizer, vocabulary, image_first_prob=0.0)
    assert after["text"] == "Hello.\nA dog.[IMG]\nA cat.[IMG]"
    both = [image_part(0), image_part(1), text_part("Two dogs."), text_part("End.")]
    pages = [web_page(both, [[1], [2]], tokenizer, vocabulary, record=str(i), image_first_prob=0.5) for i in range(200)]
    texts = [page["text"] for page in pages]
    for count, text in ((50, "[IMG][IMG]\nTwo dogs.\nEnd."), (50, "Two dogs.[IMG][IMG]\nEnd.")):
        assert abs(texts.count(text) - count) < 25
    assert abs(texts.count("[IMG]\nTwo dogs.[IMG]\nEnd.") - 100) < 29
    # either of the two images is the one before
    assert len({tuple(page["input_ids"]) for page in pages}) == 4


def test_of_many_images_six_are_drawn_in_their_order(tokenizer, vocabulary):
    parts = [part for i in range(9) for part in (image_part(i), text_part(f"s{i}."))]
    codes = [[10 + i] for i in range(9)]
    shown = Counter()
    for record in range(60):
        page = web_page(parts, codes, tokenizer, vocabulary, record=str(record))
        ids = [i - vocabulary.first_code - 10 for i in page["input_ids"] if i >= vocabulary.first_code]
        assert ids == sorted(set(ids))
        assert page["num_visual_tokens"] == len(ids) == 6
        assert [page["text"].count(f"s{i}.") for i in range(9)] == [1] * 9
        assert page["drops"] == [{"reason": "image_not_drawn", "count": 3}]
        assert page == web_page(parts, codes, tokenizer, vocabulary, record=str(record))
        shown.update(ids)
    assert all(25 <= shown[i] <= 55 for i in range(9))  # each of 60 with probability 2/3
    assert web_page(parts, codes, tokenizer, vocabulary, page_images=9)["num_visual_tokens"] == 9


def test_half_of_the_pages_with_one_image_go(tokenizer, vocabulary):
    def kept(codes, **settings):
        pages = [web_page(PAGE, codes, tokenizer, vocabulary, record=str(i), **settings) for i in range(200)]
        assert {page["reason"] for page in pages} <= {"", "not_sampled"}
        return sum(page["keep"] for page in pages)

    assert 70 < kept([[1], []], single_image_prob=0.5) < 130
    assert 70 < kept([[1], [2]], page_images=1, single_image_prob=0.5) < 130
    assert kept([[1], [2]], single_image_prob=0.0) == 200
    assert kept([[], [2]], single_image_prob=0.0) == 0


@pytest.mark.parametrize(
    ("probability", "text"), [(1.0, "Image: [IMG]\nCaption: A dog."), (0.0, "Caption: A dog.\nImage: [IMG]")]
)
def test_mmc4_pairs_have_the_form_of_pairs(probability, text, tokenizer, vocabulary):
    parts = [image_part(0), text_part("A  dog.")]
    document = web_page(parts, [[1]], tokenizer, vocabulary, task="pair", image_first_prob=probability)
    assert document["text"] == text
