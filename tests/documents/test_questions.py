import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mmgic.documents import build_question_document
from mmgic.documents.encode import encode_continuation, encode_texts
from mmgic.documents.prompts import caption_stop_ids, option_ids, question_prompt
from mmgic.documents.questions import response
from mmgic.errors import InputError
from mmgic.settings import SYSTEM_PROMPT, DocumentSettings

TEXT = st.text(alphabet="abcé ?[IMG]</s>\n", min_size=1, max_size=15).filter(str.strip)
QUESTIONS = st.lists(st.fixed_dictionaries({"question": TEXT, "answer": TEXT}), max_size=5)


def build(questions, tokenizer, vocabulary, codes=(1, 2), **settings):
    row = {"row_id": 5, "source": "vqa", "image_id": "9", "questions": questions, "codes": list(codes)}
    return build_question_document(
        row,
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        settings=DocumentSettings(**settings),
        repeat=0,
        corpus="vqa",
    )


def test_open_ended_vqa_of_table_16(tokenizer, vocabulary):
    questions = [
        {"question": "Is there a dog?", "answer": "yes"},
        {"question": "What colour\nis it?", "answer": "dark red"},
    ]
    document = build(questions, tokenizer, vocabulary)
    assert document["keep"]
    assert document["template"] == "question"
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
    prompts = [question_prompt(tokenizer, vocabulary, [1, 2], q["question"], system_prompt) for q in questions]
    if not document["keep"]:
        answers = [encode_continuation(tokenizer, "[/INST]", response(q["answer"]))[1] for q in questions]
        assert document["reason"] == "too_long"
        assert all(len(prompt) + len(answer) + 1 > max_tokens for prompt, answer in zip(prompts, answers, strict=True))
        return
    ids, spans = document["input_ids"], document["answer_spans"]
    assert len(ids) <= max_tokens
    assert len(spans) == ids.count(tokenizer.eos_token_id) == document["text"].count(". [/INST] ")
    assert [ids[end - 1] for _, end in spans] == [tokenizer.eos_token_id] * len(spans)
    rest = [tokenizer.decode(ids[start : end - 1]).strip() for start, end in spans]
    answers = iter([response(entry["answer"]).strip() for entry in questions])
    assert all(answer in answers for answer in rest), "the rounds that fit keep their order"
    assert ids[: spans[0][0]] in prompts


def test_an_image_without_visual_tokens_is_set_aside(tokenizer, vocabulary):
    document = build([{"question": "a?", "answer": "b"}], tokenizer, vocabulary, codes=())
    assert (document["keep"], document["reason"]) == (False, "no_visual_tokens")


def test_options_are_the_tokens_that_training_puts_after_inst(tokenizer, vocabulary):
    yes, no = option_ids(tokenizer, ["Yes", "No"])
    assert yes != no
    for answer, option in (("Yes", yes), ("No", no)):
        document = build([{"question": "Is there a dog?", "answer": answer}], tokenizer, vocabulary)
        ((start, end),) = document["answer_spans"]
        assert document["input_ids"][start:end] == [option, tokenizer.eos_token_id]


def test_an_option_of_several_tokens_is_refused(tokenizer):
    with pytest.raises(InputError, match="options that are one token each"):
        option_ids(tokenizer, ["Yes", "xylophone"])


def test_a_caption_stops_at_a_line_break_or_the_end(tokenizer):
    stop = set(caption_stop_ids(tokenizer))
    assert tokenizer.eos_token_id in stop
    caption, after = encode_texts(tokenizer, [" a dog at the beach.", "\nObjects:\n- dog"])
    assert not stop & set(caption)
    assert any(i in stop for i in after[:2])
