"""Remembered ids are the tokenizer's own, whatever the text."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from mmgic.documents import cached_ids
from mmgic.documents.cached_ids import CachedIds, Memory
from mmgic.documents.template import TITLE

MARKS = [
    "\n",
    "\n\n",
    " ",
    "  ",
    "\t",
    "\r\n",
    "\x0b",
    "\x1c",
    "\x85",
    "\xa0",
    "\u2028",
    "\u3000",
    "\u200b",
    "\ufeff",
    "\u2581",
    "\u180e",
]
WORDS = [
    "dog",
    "- on {a-b}:",
    "Caption:",
    "it's",
    "'s",
    "é",
    "e\u0301",
    "日本",
    "\U0001f600",
    "</s>",
    "<unk>",
    "3,000",
    "[/INST]",
    "#",
    "x",
]
TEXTS = st.lists(st.sampled_from(MARKS + WORDS) | st.text(max_size=3), max_size=14).map("".join)


def own(tokenizer, text):
    return tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]


@given(text=TEXTS)
@settings(deadline=None, max_examples=400)
def test_ids_are_the_tokenizers_own(tokenizer, text):
    assert cached_ids.cached_ids(tokenizer)(text) == own(tokenizer, text)


@given(context=TEXTS, text=TEXTS)
@settings(deadline=None, max_examples=400)
def test_what_is_known_of_a_continuation_is_the_rest_of_the_whole(tokenizer, context, text):
    cached = cached_ids.cached_ids(tokenizer)
    rest = cached.after(context, text)
    assert rest is None or own(tokenizer, context) + rest == own(tokenizer, context + text)
    assert cached.after("[/INST]", f" {text}") is not None


def test_both_kinds_of_tokenizers_part_at_spaces(tokenizer):
    asked = []
    cached = CachedIds(tokenizer)
    whole = cached._whole
    cached._words = Memory(lambda word: asked.append(word) or cached._inside(word))
    text = f"{TITLE}\nObjects:\n- dog\n- red dog"
    assert cached(text) == own(tokenizer, text) == list(whole(text))
    assert asked == [
        " Detailed",
        " Analysis",
        " of",
        " Objects",
        " in",
        " the",
        " Image",
        "\n\nObjects:",
        "\n-",
        " dog",
        " red",
    ]


def test_a_tokenizer_of_another_kind_remembers_whole_texts():
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+\s*|[^\w\s]+\s*|\s+"), "isolated")
    inner.train_from_iterator(["a dog\n- a dog, a cat\n"] * 50, trainers.BpeTrainer(vocab_size=60, show_progress=False))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner)
    text = "a dog\n- a dog"
    cached = CachedIds(tokenizer)
    assert any(" " in token[1:-1] or token.endswith((" ", "\n")) for token in tokenizer.get_vocab())
    assert cached(text) == cached(text) == own(tokenizer, text)


def test_a_memory_has_a_bound_and_keeps_what_is_asked_for_again(monkeypatch):
    monkeypatch.setattr(cached_ids, "MOST", 10)
    asked = []
    memory = Memory(lambda text: asked.append(text) or (len(text),))
    for number in range(100):
        assert memory("often") == (5,)
        assert memory(f"once {number}") == (len(f"once {number}"),)
    assert asked.count("often") == 1
    assert len(memory._young) + len(memory._old) <= 21
