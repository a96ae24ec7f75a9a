import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgic.descriptions.review import ReviewForm, append_review, read_review
from mmgic.errors import InputError

FORM = ReviewForm(("source", "label"), ("count", "text"))
HEADER = "source\tlabel\tcount\ttext\tverdict\tedit\n"


def rows(*labels, text="a thing"):
    return [{"source": "vg", "label": label, "count": "3", "text": text} for label in labels]


def test_new_rows_are_appended_and_old_ones_stay_byte_for_byte(tmp_path):
    path = tmp_path / "review.tsv"
    assert append_review(str(path), FORM, rows("dog", "cat")) == 2
    edited = path.read_text().replace("vg\tdog\t3\ta thing\t\t", "vg\tdog\t3\ta thing\tedit\tA furry animal.")
    path.write_text(edited.rstrip("\n"))  # as some editors leave it
    assert append_review(str(path), FORM, rows("cat", "dog", text="something else")) == 0
    assert append_review(str(path), FORM, rows("cat", "emu", text="a bird")) == 1
    assert path.read_text() == edited + "vg\temu\t3\ta bird\t\t\n"
    found = read_review(str(path), FORM)
    assert found["vg", "dog"] == rows("dog")[0] | {"verdict": "edit", "edit": "A furry animal."}
    assert found["vg", "cat"]["verdict"] == ""


def test_spreadsheets_may_add_a_mark_line_ends_capitals_and_columns(tmp_path):
    path = tmp_path / "review.tsv"
    path.write_text(
        "\ufeff"
        + HEADER.replace("\n", "\tnotes\r\n")
        + "vg\tdog\t3\ta thing\tReject \t\tugly\r\n\t\t\t\r\nvg\tcat\t3\ta thing",
        newline="",
    )
    found = read_review(str(path), FORM)
    assert [(key, row["verdict"]) for key, row in found.items()] == [(("vg", "dog"), "reject"), (("vg", "cat"), "")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source\tlabel\n", "line 1: the columns count, text, verdict, edit are missing"),
        (HEADER + "vg\tdog\t3\n", "line 2: the row ends too early"),
        (HEADER + "vg\tdog\t3\ta\tgood\t\n", "line 2: the verdict is 'good'; write accept, edit or reject"),
        (HEADER + "vg\tcat\t3\ta\t\t\nvg\tdog\t3\ta\tedit\t \n", "line 3: the verdict is edit, but"),
        (HEADER + "vg\tdog\t3\ta\t\t\nvg\tdog\t3\tb\t\t\n", "line 3: 'dog' was on an earlier line"),
        (HEADER + 'vg\tdog\t3\t"a\t\t\nvg\tcat\t3\tb\t\t\n', "this is no tab-separated row"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path, text, message):
    path = tmp_path / "review.tsv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_review(str(path), FORM)


def test_a_file_in_another_encoding_is_refused(tmp_path):
    path = tmp_path / "review.tsv"
    path.write_bytes(HEADER.encode("utf-16"))
    with pytest.raises(InputError, match="save the review file as UTF-8"):
        read_review(str(path), FORM)


def test_a_file_that_must_exist(tmp_path):
    assert read_review(str(tmp_path / "none.tsv"), FORM) == {}
    with pytest.raises(InputError, match="there is no review file"):
        read_review(str(tmp_path / "none.tsv"), FORM, must_exist=True)


LABELS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1)


@given(st.lists(LABELS, min_size=1, unique=True), LABELS)
def test_any_text_comes_back_as_it_was(tmp_path_factory, labels, text):
    path = str(tmp_path_factory.mktemp("review") / "review.tsv")
    half = len(labels) // 2
    append_review(path, FORM, rows(*labels[:half], text=text))
    append_review(path, FORM, rows(*labels, text=text))
    found = read_review(path, FORM)
    assert [(key[1], row["text"]) for key, row in found.items()] == [(label, text) for label in labels]
