from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

import mmgic.toy
from mmgic.documents import build_rounds_document
from mmgic.documents.encode import encode_continuation, encode_texts
from mmgic.documents.prompts import line_stop_ids, option_ids, round_prompt
from mmgic.documents.tasks import sentence_start
from mmgic.documents.writing import Writing
from mmgic.errors import InputError
from mmgic.model.vocabulary import VLVocabulary
from mmgic.settings import SYSTEM_PROMPT, DocumentSettings
from mmgic.sources.rows import image_part, interleaved, text_part

TEXT = st.text(alphabet="abcé ?[IMG]</s>\n", min_size=1, max_size=15).filter(str.strip)
QUESTIONS = st.lists(st.fixed_dictionaries({"question": TEXT, "answer": TEXT}), max_size=5)


def build(questions, tokenizer, vocabulary, codes=(1, 2), **settings):
    row = interleaved(
        "vqa",
        "9",
        0,
        "open_vqa",
        ["a.jpg"],
        [
            ([*([] if i else [image_part(0)]), text_part(entry["question"])], [text_part(entry["answer"])])
            for i, entry in enumerate(questions)
        ],
    )
    row["images"][0]["codes"] = list(codes)
    return build_rounds_document(row, Writing(tokenizer, vocabulary, DocumentSettings(**settings), 0), corpus="vqa")


def test_question_documents_keep_their_bytes():
    """The ids that this document had when the packaged toy weights and all published figures were made."""
    weights = Path(mmgic.toy.__file__).parent / "weights" / "llama"
    tokenizer = AutoTokenizer.from_pretrained(weights)
    vocabulary = VLVocabulary(len(tokenizer), 256)
    system = "You are a helpful assistant."
    questions = [
        {"question": "Is there a dog in the image?", "answer": "yes"},
        {"question": "What color\nis the cup?", "answer": "dark red"},
    ]
    document = build(questions, tokenizer, vocabulary, system_prompt=system)
    # fmt: off
    first = [
        0, 61, 286, 63, 550, 441, 438, 201, 548, 524, 263, 554, 553, 16, 201, 552, 441, 438, 201, 201, 960, 963, 964,
        961, 201, 278, 279, 263, 408, 267, 261, 274, 33, 201, 330, 261, 332, 331, 263, 328, 327, 294, 333, 16, 323,
        286, 63,
    ]
    rest = [
        305, 1, 0, 61, 286, 63, 416, 296, 310, 261, 384, 33, 201, 330, 261, 332, 331, 263, 328, 327, 294, 333, 16,
        323, 286, 63, 223, 38, 576, 386, 1,
    ]
    # fmt: on
    assert round_prompt(tokenizer, vocabulary, "open_vqa", [[1, 2]], questions[0]["question"], system) == first
    assert document["input_ids"] == first + rest
    assert document["answer_spans"] == [[47, 49], [73, 78]]


def test_open_ended_vqa_of_table_16(tokenizer, vocabulary):
    questions = [
        {"question": "Is there a dog?", "answer": "yes"},
        {"question": "What colour\nis it?", "answer": "dark red"},
    ]
    document = build(questions, tokenizer, vocabulary)
    assert document["keep"]
    assert document["template"] == "open_vqa"
    assert document["text"] == (
        f"[INST] <<SYS>>\n{SYSTEM_PROMPT}\n<</SYS>>\n\n[IMG]\n"
        "Is there a dog?\nAnswer the question using a single word or phrase. [/INST] Yes</s><s>[INST] "
        "What colour is it?\nAnswer the question using a single word or phrase. [/INST] Dark red"
    )
    ids = document["input_ids"]
    first, second = (ids[start:end] for start, end in document["answer_spans"])
    assert tokenizer.decode(first).strip() == "Yes</s>"
    assert tokenizer.decode(second).strip() == "Dark red</s>"
    assert ids[-1] == tokenizer.eos_token_id
    assert ids.count(tokenizer.bos_token_id) == ids.count(tokenizer.eos_token_id) == 2
    assert (document["num_visual_tokens"], ids.count(vocabulary.img)) == (2, 1)


@given(questions=QUESTIONS, max_tokens=st.integers(16, 400), system_prompt=st.sampled_from(["", "Be brief."]))
@hypothesis_settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_spans_cover_the_answers_and_prompts_are_prefixes(tokenizer, vocabulary, questions, max_tokens, system_prompt):
    document = build(questions, tokenizer, vocabulary, max_tokens=max_tokens, system_prompt=system_prompt)
    if not questions:
        assert document["reason"] == "bad_record"
        return
    prompts = [
        round_prompt(tokenizer, vocabulary, "open_vqa", [[1, 2]], q["question"], system_prompt) for q in questions
    ]
    if not document["keep"]:
        answers = [encode_continuation(tokenizer, "[/INST]", f" {sentence_start(q['answer'])}")[1] for q in questions]
        assert document["reason"] == "too_long"
        assert all(len(prompt) + len(answer) + 1 > max_tokens for prompt, answer in zip(prompts, answers, strict=True))
        return
    ids, spans = document["input_ids"], document["answer_spans"]
    assert len(ids) <= max_tokens
    assert len(spans) == ids.count(tokenizer.eos_token_id) == document["text"].count(". [/INST] ")
    assert [ids[end - 1] for _, end in spans] == [tokenizer.eos_token_id] * len(spans)
    rest = [tokenizer.decode(ids[start : end - 1]).strip() for start, end in spans]
    answers = iter([sentence_start(entry["answer"]) for entry in questions])
    assert all(answer in answers for answer in rest), "the rounds that fit keep their order"
    assert ids[: spans[0][0]] in prompts


def test_an_image_without_visual_tokens_is_set_aside(tokenizer, vocabulary):
    document = build([{"question": "a?", "answer": "b"}], tokenizer, vocabulary, codes=())
    assert (document["keep"], document["reason"]) == (False, "no_visual_tokens")


def test_options_are_the_tokens_that_training_puts_after_inst(tokenizer, vocabulary):
    answers = ("Yes", "No", "Xylophone")
    for answer, option in zip(answers, option_ids(tokenizer, answers), strict=True):
        document = build([{"question": "Is there a dog?", "answer": answer}], tokenizer, vocabulary)
        ((start, end),) = document["answer_spans"]
        assert document["input_ids"][start:end] == [*option, tokenizer.eos_token_id]


def test_options_that_are_the_same_tokens_are_refused(tokenizer):
    with pytest.raises(InputError, match="the options 'Yes', 'Yes' are the same tokens"):
        option_ids(tokenizer, ["Yes", "No", "Yes"])


def test_a_caption_stops_at_a_line_break_or_the_end(tokenizer):
    stop = set(line_stop_ids(tokenizer))
    assert tokenizer.eos_token_id in stop
    caption, after = encode_texts(tokenizer, [" a dog at the beach.", "\nObjects:\n- dog"])
    assert not stop & set(caption)
    assert any(i in stop for i in after[:2])
