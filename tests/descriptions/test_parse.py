import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mmgic.descriptions.parse import MAX_WORDS, MIN_WORDS, STATUSES, Reply, parse_edit, parse_reply
from mmgic.language_model.answers import Answer

GOOD = "A dog is a furry animal with four legs."


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"  {GOOD}\n",
        f'"{GOOD}"',
        f"Description: {GOOD}",
        f"**Category Description:** {GOOD}",
        f"Object label description:\n{GOOD}",
        f"```\n{GOOD}\n```",
        f"- {GOOD}",
        f"=+{GOOD}",  # a spreadsheet would take it for a formula
        "A dog is a furry\n\nanimal with  four legs.",
    ],
)
@pytest.mark.parametrize("noisy", [False, True])
def test_descriptions_lose_their_wrapping(text, noisy):
    assert parse_reply(Answer(text), noisy) == Reply("described", GOOD)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Invalid. It names a place.", "It names a place."),
        ("invalid: it names a place", "it names a place"),
        ('"Invalid." It names a place.', "It names a place."),
        ("Description: Invalid. It names a place.", "It names a place."),
        ("Invalid", "no reason given"),
        ("INVALID.\nBecause.", "Because."),
    ],
)
def test_invalid_labels_come_with_their_reason_where_labels_are_noisy(text, reason):
    assert parse_reply(Answer(text), noisy=True) == Reply("invalid", reason)
    assert parse_reply(Answer(text), noisy=False).status == "unusable"


def test_a_description_may_be_about_the_word_invalid():
    text = "Invalid tickets are stamped with a red cross and worth nothing."
    assert parse_reply(Answer(text), noisy=True) == Reply("described", text)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(""), "empty"),
        (Answer(' "" \n'), "empty"),
        (Answer("Description:"), "empty"),
        (Answer("A dog."), "only 2 words: A dog."),
        (Answer("dog " * (MAX_WORDS + 1)), "121 words, more than 120"),
        (Answer("I'm sorry, but I cannot help with that label."), "refused: I'm sorry"),
        (Answer("I’m sorry, but I cannot help with that label."), "refused: I'm sorry"),
        (Answer("As an AI model I have never seen a dog at all."), "refused: As an AI"),
        (Answer(GOOD, problem="cut off at language_model.max_tokens"), "cut off"),
    ],
)
def test_what_cannot_be_used_says_why(answer, reason):
    reply = parse_reply(answer, noisy=True)
    assert reply.status == "unusable"
    assert reply.text.startswith(reason)


def test_a_person_may_write_what_they_like():
    assert parse_edit("A dog.") == Reply("described", "A dog.")
    assert parse_edit("Invalid. A verb.") == Reply("invalid", "A verb.")


@given(
    st.lists(st.sampled_from(["Invalid", ".", "Description:", '"', "\n", "dog ", "sorry ", "=", "é", "a furry pet "]))
)
@example(["Description:", "Description:", "\n", "a furry pet ", "Invalid"])
def test_any_reply_becomes_one_line_of_a_known_status(parts):
    reply = parse_reply(Answer("".join(parts)), noisy=True)
    assert reply.status in STATUSES[:3]
    assert reply.text == " ".join(reply.text.split()) != ""
    if reply.status == "described":
        assert MIN_WORDS <= len(reply.text.split()) <= MAX_WORDS
        assert reply.text[0] not in "=+-@"
        assert parse_reply(Answer(reply.text), noisy=True) == reply
