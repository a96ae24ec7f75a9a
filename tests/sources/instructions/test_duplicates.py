import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mmgic.sources.copies import RejectCopies
from mmgic.sources.instructions.duplicates import Contents, contents
from mmgic.sources.rows import image_part, interleaved, text_part

SOURCES = {"llava": 0, "llavar": 1}


def row(source, record, text, image="coco/1.jpg"):
    rounds = [([image_part(0), text_part("What?")], [text_part(text)])]
    return interleaved(source, record, 0, "image_conversation", [f"/{source}/{image}"], rounds)


def test_a_later_source_loses_its_copies():
    rows = [
        row("llavar", "a", "A dog."),
        row("llavar", "b", "A cat."),
        row("llavar", "c", "A dog.", image="coco/2.jpg"),
        row("llava", "d", "A dog.", image="train2017/1.jpg"),
        row("vqa", "e", "A dog."),
    ]
    ids = contents(rows, SOURCES).duplicates()
    made = [RejectCopies(ids, "said before")(one) for one in rows]
    assert [one["reason"] for one in made] == ["duplicate_record", "", "", "", ""]


@given(
    st.lists(st.tuples(st.sampled_from(["llava", "llavar"]), st.sampled_from("xyz")), max_size=12), st.integers(0, 12)
)
def test_one_record_of_each_content_stays_whatever_the_batches(records, cut):
    rows = [row(source, str(i), text) for i, (source, text) in enumerate(records)]
    parts = Contents()
    for batch in (rows[:cut], [], rows[cut:]):
        parts += contents(batch, SOURCES)
    ids = parts.duplicates()
    assert np.array_equal(ids, contents(rows[::-1], SOURCES).duplicates())
    kept = [one for one in rows if RejectCopies(ids, "said before")(one)["keep"]]
    assert sorted(one["rounds"][0]["response"][0]["text"] for one in kept) == sorted({text for _, text in records})
