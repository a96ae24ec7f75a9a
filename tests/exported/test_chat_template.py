"""The chat template makes the tokens of instruction documents, for every task of Table 16."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from jinja2 import TemplateError

from mmgic.documents.rounds import build_rounds_document
from mmgic.documents.tasks import DETAILED_CAPTION_INSTRUCTIONS, TEMPLATES
from mmgic.documents.writing import Writing
from mmgic.exported.chat_template import chat_template
from mmgic.model.visual_tokens import with_visual_tokens
from mmgic.settings import SYSTEM_PROMPT, DocumentSettings
from mmgic.sources.rows import image_part, interleaved, text_part

SYSTEM = 'Be "brief" {{ é }} \U0001f600 %}\n'
CODES = [[1, 2], [0], [15, 3, 3]]
TEXT = st.text(alphabet="abcé ?'\n\"{}%", max_size=15)
PART = st.one_of(TEXT.map(text_part), st.integers(0, 2).map(image_part))
ROUNDS = st.lists(st.tuples(st.lists(PART, min_size=1, max_size=4), st.lists(PART, max_size=3)), min_size=1, max_size=3)


@pytest.fixture
def chat(tokenizer, vocabulary):
    extended = with_visual_tokens(tokenizer, vocabulary)
    extended.chat_template = chat_template(SYSTEM)
    return extended


def content(parts: list[Any]) -> list[dict[str, Any]]:
    return [
        {"type": "text", "text": part["text"]}
        if part["image"] < 0
        else {"type": "image", "codes": CODES[part["image"]]}
        for part in parts
    ]


def document_of(task, rounds, tokenizer, vocabulary, system_prompt):
    row = interleaved("source", "9", 0, task, ["a.jpg"] * 3, rounds)
    for image, codes in zip(row["images"], CODES, strict=True):
        image["codes"] = codes
    settings = DocumentSettings(system_prompt=system_prompt, max_tokens=4000)
    return build_rounds_document(row, Writing(tokenizer, vocabulary, settings, 0), corpus="sft")


@given(task=st.sampled_from(list(TEMPLATES)), rounds=ROUNDS, own=st.sampled_from([None, "", "Own."]))
@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rounds_have_the_tokens_of_documents(tokenizer, vocabulary, chat, task, rounds, own):
    document = document_of(task, rounds, tokenizer, vocabulary, SYSTEM if own is None else own)
    assert document["keep"], document["detail"]
    drawn = [text for text in DETAILED_CAPTION_INSTRUCTIONS if task == "detailed_caption" and text in document["text"]]
    messages = [] if own is None else [{"role": "system", "content": own}]
    for instruction, response in rounds:
        asked = [*content(instruction), *({"type": "text", "text": text} for text in drawn[:1])]
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": content(response)}]
    made = chat.apply_chat_template(messages, task=task, return_dict=True, return_assistant_tokens_mask=True)
    assert made["input_ids"] == document["input_ids"]
    supervised = [i for i, answered in enumerate(made["assistant_masks"]) if answered]
    assert supervised == [i for start, end in document["answer_spans"] for i in range(start, end)]


def test_a_prompt_ends_where_the_model_goes_on(chat, vocabulary):
    """With plain strings as other libraries send them, and without a task."""
    messages = [{"role": "user", "content": " What is it? "}]
    text = chat.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == f"{chat.bos_token}[INST] <<SYS>>\n{SYSTEM}\n<</SYS>>\n\nWhat is it? [/INST]"
    more = [*messages, {"role": "assistant", "content": "A dog."}, {"role": "user", "content": [{"type": "image"}]}]
    text = chat.apply_chat_template(more, tokenize=False)
    assert text.endswith(f"[/INST] A dog.{chat.eos_token}{chat.bos_token}[INST] [IMG][/IMG] [/INST]")


def test_the_papers_system_prompt_is_the_default():
    assert SYSTEM_PROMPT in chat_template(DocumentSettings().system_prompt)


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "assistant", "content": "a"}],
        [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
        [{"role": "user", "content": [{"type": "video"}]}],
    ],
)
def test_what_no_round_can_hold_is_refused(chat, messages):
    with pytest.raises(TemplateError, match=r"take turns|no video"):
        chat.apply_chat_template(messages)
