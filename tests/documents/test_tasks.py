"""Table 16, task by task, as text."""

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from mmgic.documents import build_rounds_document
from mmgic.documents.tasks import DETAILED_CAPTION_INSTRUCTIONS, TEMPLATES
from mmgic.documents.writing import Writing
from mmgic.schema import TASKS
from mmgic.settings import DocumentSettings
from mmgic.sources.rows import image_part, interleaved, text_part

SYSTEM = "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n"


def build(task, rounds, tokenizer, vocabulary, *, codes=((1, 2),), max_tokens=4000, record="9", seed=0):
    row = interleaved("src", record, 0, task, ["a.jpg"] * len(codes), rounds)
    for image, own in zip(row["images"], codes, strict=True):
        image["codes"] = list(own)
    settings = DocumentSettings(system_prompt="Be brief.", max_tokens=max_tokens)
    return build_rounds_document(row, Writing(tokenizer, vocabulary, settings, seed), corpus="sft")


IMAGE, SECOND = image_part(0), image_part(1)
FORMS = {
    "image_conversation": (
        [([IMAGE, text_part("What is\nthis?")], [text_part("a dog.\n\nIt sits.")])],
        f"{SYSTEM}[IMG]\nWhat is\nthis? [/INST] a dog.\n\nIt sits.",
    ),
    "open_vqa": (
        [([IMAGE, text_part("A dog?")], [text_part("yes")]), ([text_part("Red?")], [text_part("no")])],
        f"{SYSTEM}[IMG]\nA dog?\nAnswer the question using a single word or phrase. [/INST] Yes</s><s>"
        "[INST] Red?\nAnswer the question using a single word or phrase. [/INST] No",
    ),
    "multiple_choice": (
        [([IMAGE, text_part("Which?\nA. dog\nB. cat")], [text_part("B")])],
        f"{SYSTEM}[IMG]\nWhich?\nA. dog\nB. cat\n"
        "Answer with the option's letter from the given choices directly. [/INST] B",
    ),
    "image_caption": (
        [([IMAGE], [text_part("A dog.")])],
        f"{SYSTEM}[IMG]\nProvide a one-sentence caption for the provided image. [/INST] A dog.",
    ),
    "text_to_image": (
        [([text_part("a dog")], [IMAGE])],
        f"{SYSTEM}Create an image that visually represents the description: a dog [/INST] Here is the image: [IMG]",
    ),
    "text_only": ([([text_part("Hello?")], [text_part("Hi.")])], f"{SYSTEM}Hello? [/INST] Hi."),
}


@pytest.mark.parametrize("task", FORMS)
def test_templates_of_table_16(task, tokenizer, vocabulary):
    rounds, text = FORMS[task]
    codes = () if task == "text_only" else ((1, 2),)
    document = build(task, rounds, tokenizer, vocabulary, codes=codes)
    assert document["text"] == text
    assert (document["template"], document["corpus"], document["num_visual_tokens"]) == (task, "sft", 2 * len(codes))


def test_every_instruction_task_has_a_template():
    assert set(TEMPLATES) == set(TASKS) - {"interleaved", "pair"}


def test_edits_go_on_with_the_image_before_and_images_of_answers_are_supervised(tokenizer, vocabulary):
    rounds = [([IMAGE, text_part("Make it red.")], [SECOND]), ([text_part("Add a hat.")], [image_part(2)])]
    codes = ((1,), (2, 3), (4, 5, 6))
    document = build("image_editing", rounds, tokenizer, vocabulary, codes=codes)
    assert document["text"] == (
        f"{SYSTEM}[IMG] Make it red. [/INST] Here is the edited image: [IMG]</s><s>"
        "[INST] Add a hat. [/INST] Here is the edited image: [IMG]"
    )
    ids = document["input_ids"]
    first, second = (ids[start:end] for start, end in document["answer_spans"])
    for span, own in ((first, codes[1]), (second, codes[2])):
        assert span[-len(own) - 3 : -1] == vocabulary.image_tokens(own)
        assert span[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(span[: -len(own) - 3]).strip() == "Here is the edited image:"
    assert document["num_visual_tokens"] == 6


def test_an_image_stands_where_its_question_has_it(tokenizer, vocabulary):
    rounds = [([text_part("What is this?"), IMAGE], [text_part("A dog.")])]
    document = build("image_conversation", rounds, tokenizer, vocabulary)
    assert document["text"] == f"{SYSTEM}What is this?\n[IMG] [/INST] A dog."
    [(start, _)] = document["answer_spans"]
    assert tokenizer.decode(document["input_ids"][start:]).strip() == "A dog.</s>"


def test_detailed_captions_are_asked_for_in_words_that_the_record_draws(tokenizer, vocabulary):
    rounds = [([IMAGE], [text_part("A long text.")])]
    texts = [build("detailed_caption", rounds, tokenizer, vocabulary, record=str(i))["text"] for i in range(60)]
    asked = {text.removeprefix(f"{SYSTEM}[IMG]\n").removesuffix(" [/INST] A long text.") for text in texts}
    assert asked <= set(DETAILED_CAPTION_INSTRUCTIONS)
    assert len(asked) == len(set(DETAILED_CAPTION_INSTRUCTIONS))
    again = build("detailed_caption", rounds, tokenizer, vocabulary, record="7")
    assert again["text"] == texts[7]


def test_a_conversation_ends_before_its_first_round_that_is_too_long(tokenizer, vocabulary):
    long = "abc " * 80
    rounds = [([IMAGE, text_part("a")], [text_part("b")]), ([text_part(long)], [text_part("c")])]
    rounds.append(([text_part("a")], [text_part("d")]))
    document = build("image_conversation", rounds, tokenizer, vocabulary, max_tokens=150)
    assert document["text"].endswith("[/INST] b")
    assert document["drops"] == [{"reason": "round_too_long", "count": 2}]
    independent = build("multiple_choice", rounds, tokenizer, vocabulary, max_tokens=300)
    assert independent["text"].endswith("[/INST] d")
    assert len(independent["answer_spans"]) == 2
    assert independent["drops"] == [{"reason": "round_too_long", "count": 1}]


def test_a_first_round_that_is_too_long_hands_its_image_on_or_ends_the_conversation(tokenizer, vocabulary):
    rounds = [([IMAGE, text_part("abc " * 80)], [text_part("b")]), ([text_part("a")], [text_part("d")])]
    document = build("multiple_choice", rounds, tokenizer, vocabulary, max_tokens=200)
    assert document["text"].startswith(f"{SYSTEM}[IMG]\na\nAnswer with")
    assert document["drops"] == [{"reason": "round_too_long", "count": 1}]
    refused = build("image_conversation", rounds, tokenizer, vocabulary, max_tokens=200)
    assert (refused["keep"], refused["reason"]) == (False, "too_long")


@given(question=st.text(max_size=20).filter(str.strip), answer=st.text(max_size=20).filter(str.strip))
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_becomes_a_document_whose_prompt_is_a_prefix(tokenizer, vocabulary, question, answer):
    document = build("text_only", [([text_part(question)], [text_part(answer)])], tokenizer, vocabulary, codes=())
    assert document["keep"]
    other = build("text_only", [([text_part(question)], [text_part("no")])], tokenizer, vocabulary, codes=())
    [(start, end)] = document["answer_spans"]
    assert document["input_ids"][:start] == other["input_ids"][:start]
    assert end == len(document["input_ids"])


def test_an_answer_that_the_tokenizer_joins_to_its_prompt_is_set_aside(vocabulary):
    words = {"<unk>": 0, "<s>": 1, "</s>": 2, " [/INST] x": 3}
    joining = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    joining.pre_tokenizer = pre_tokenizers.Split(" [/INST] x", "isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=joining, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    rounds = [([IMAGE], [text_part("x")])]
    document = build("image_conversation", rounds, tokenizer, vocabulary)
    assert document["reason"] == "bad_record"
    assert "does not merge across spaces" in document["detail"]
