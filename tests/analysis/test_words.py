"""Right and wrong words of an answer."""

from hypothesis import given
from hypothesis import strategies as st

from mmgic.analysis.words import marked_words


def marks(answer, references):
    return {word.text: word.mark for word in marked_words(answer, references) if word.mark}


def test_words_are_judged_by_all_references():
    found = marks("The red dogs sit beside a glass-table.", ["a dog on a table", "Red thing sits"])
    assert found == {
        "red": "right",
        "dogs": "right",
        "sit": "right",
        "beside": "wrong",
        "glass": "wrong",
        "table": "right",
    }
    assert marks("Yes", ["no"]) == {"Yes": "wrong"}
    assert marks("3", ["3", "three"]) == {"3": "right"}
    assert marks("a dog", []) == {}


@given(st.text(max_size=60), st.lists(st.text(max_size=20), max_size=3))
def test_nothing_of_the_answer_is_lost(answer, references):
    assert "".join(word.text for word in marked_words(answer, references)) == answer
    assert all(word.mark != "wrong" for word in marked_words(answer, [answer]))
