"""Benchmarks of lettered options: how free answers are read, circular accuracy, groups, and their authors' files."""

from __future__ import annotations

import base64
import csv
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmgic.errors import InputError
from mmgic.evaluation.benchmarks import mmbench, mmlu, q_bench, scienceqa, seed_bench
from mmgic.evaluation.scorers.choices import read_choice
from tests.evaluation.benchmarks.conftest import choice_item, raw, score_records


@pytest.mark.parametrize(
    ("answer", "option"),
    [
        ("B", "B"), ("b", "B"), (" (B) ", "B"), ("B.", "B"), ("[B]", "B"), ("**B**", "B"), ("B. blue", "B"),
        ("B) it is blue, as one can see in the picture", "B"), ("Answer: **D**", "D"), ("The answer is C.", "C"),
        ("The answer is a cat", "A"), ("The answer is blue", "B"), ("A horse", "D"), ("it is two", "C"),
        ("The correct option is D because of the mane", "D"), ("A or B", ""), ("E", ""), ("", ""), ("dog", ""),
        ("I think so", ""), ("blue and two", ""), ("A nice thing to look at", ""),
    ],
)  # fmt: skip
def test_whole_letters_and_whole_texts_alone_are_read(answer, option):
    assert read_choice(answer, tuple("ABCD"), ("a cat", "blue", "two", "a horse")) == option


def test_a_letter_that_the_row_does_not_have_is_unreadable():
    assert read_choice("C", tuple("AB"), ("yes", "no")) == ""


def test_mmbench_circular_counts_whole_questions():
    rows = [(5, 4), (6, 2)]
    items = [
        choice_item(q + turn * mmbench.ROTATION, "A", question=q, rotations=n, category="c", l2="l")
        for q, n in rows for turn in range(n)
    ]  # fmt: skip
    scored = mmbench.score(items, ["A"] * 5 + ["B"])
    found = raw(scored)
    assert (found["circular"], found["vanilla"], found["all rows"]) == (0.5, 1, pytest.approx(5 / 6))
    assert "circular" not in mmbench.score(items[:1], ["A"]).scores  # a part of the rotations flatters


def test_mmbench_reads_references_to_pictures_hints_and_wrong_base64(tmp_path):
    picture = base64.b64encode(b"picture").decode()
    rows = [
        dict(zip(("index", "question", "hint", *"ABCD", "answer", "image"), row, strict=True))
        for row in (
            (1, "Q?", "nan", "x", "NA", "", "nan", "B", picture),
            (1000001, "Q?", "h", "NA", "x", "", "", "A", "1"),
            (2, "R?", "", "x", "y", "", "", "A", "?!"),
        )
    ]
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), delimiter="\t", lineterminator="\r\n")
    table.writeheader()
    table.writerows(rows)
    path = tmp_path / "mmbench.tsv"
    path.write_bytes(b"\xef\xbb\xbf" + text.getvalue().encode())
    first, turned, damaged = mmbench.read([str(path)])[""]
    assert (first.images, first.hint, first.choices, first.options) == ((b"picture",), "", ("x", "NA"), ("A", "B"))
    assert (turned.images, turned.hint) == ((b"picture",), "h")
    assert damaged.images == (b"?!",)  # which no decoder takes for an image
    path.write_text("question\timage\nQ?\tx\n")
    with pytest.raises(InputError, match="needs a column 'index'"):
        mmbench.read([str(path)])


@pytest.mark.parametrize(
    ("answer", "letter"),
    [("B", "B"), ("B. blue", "B"), ("The answer is B.", "B"), ("B.", ""), ("(B)", ""), ("b", ""),
     ("The answer is A. The answer is B.", ""), ("", "")],
)  # fmt: skip
def test_scienceqa_reads_what_llava_reads(answer, letter):
    assert scienceqa.letter(answer, tuple("ABCD")) == letter


def test_scienceqa_img_is_the_questions_with_an_image(example_files, tmp_path):
    files = example_files("scienceqa")
    items = scienceqa.read(files)[""]
    assert [bool(item.images) for item in items] == [True] * 12 + [False]
    shown = [{"question_id": item.id, "text": item.target[0]} for item in items if item.images]
    alone = score_records("scienceqa", files, shown, tmp_path)
    assert alone["IMG accuracy"] == 1
    assert "accuracy, text questions too" not in alone
    both = score_records("scienceqa", files, [*shown, {"question_id": "1", "text": "B"}], tmp_path)
    assert both["accuracy, text questions too"] == pytest.approx(12 / 13)


def test_seed_is_the_mean_over_questions_and_passes_over_videos(example_files, tmp_path):
    items = [choice_item(i, "A", dimension="X" if i < 4 else "Text Understanding") for i in range(5)]
    found = raw(seed_bench.score(items, ["A", "A", "A", "B", "A"]))
    assert (found["accuracy"], found["accuracy without text"], found["X"]) == (0.8, 0.75, 0.75)
    files = example_files("seed_bench")
    asked = seed_bench.read(files)[""]
    assert len(asked) == 13  # one of twelve questions is there twice, as in the published file
    records = [{"question_id": item.id, "prediction": item.target[0]} for item in asked]
    video = {"question_id": "v1", "prediction": "A"}
    assert score_records("seed_bench", files, [*records, video], tmp_path)["accuracy"] == 1
    assert score_records("seed_bench", files, records[:12], tmp_path)["accuracy"] == 1


def test_q_bench_reads_both_published_forms(example_files, tmp_path):
    [*items] = q_bench.read(example_files("q_bench"))[""]
    assert raw(q_bench.score(items, [item.target[0] for item in items]))["accuracy"] == 1
    row = {"id": 3, "image": {"bytes": b"jpeg", "path": "a"}, "question": "Q?", "option0": "Yes", "option1": "No"}
    row |= {"option2": "N/A", "option3": "N/A", "question_type": 0, "question_concern": 1, "correct_choice": "B"}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "dev.parquet")
    [item] = q_bench.read([str(tmp_path / "dev.parquet")])[""]
    assert (item.options, item.target, item.images) == (("A", "B"), ("B",), (b"jpeg",))
    (tmp_path / "dev.parquet").write_bytes(b"no")
    with pytest.raises(InputError, match="no Parquet file"):
        q_bench.read([str(tmp_path / "dev.parquet")])


def test_mmlu_is_the_mean_over_questions_with_five_shots(tmp_path):
    items = [choice_item(i, "A", subject="x" if i < 100 else "y") for i in range(400)]
    answers = ["A"] * 50 + ["B"] * 50 + ["A"] * 270 + ["B"] * 30
    found = raw(mmlu.score(items, answers))
    assert (found["accuracy"], found["mean of subjects"]) == (pytest.approx(0.8), pytest.approx(0.7))
    for split, count in (("dev", 5), ("test", 2)):
        rows = "".join(f'"What, {i}?",NA,None,"a, b",1,D\n' for i in range(count))
        (tmp_path / f"abstract_algebra_{split}.csv").write_text(rows)
    first, _ = mmlu.read([str(path) for path in sorted(tmp_path.glob("*.csv"))])[""]
    header = "The following are multiple choice questions (with answers) about  abstract algebra.\n\n"
    assert first.question.startswith(f"{header}What, 0?\nA. NA\nB. None\nC. a, b\nD. 1\nAnswer: D\n\nWhat, 1?")
    assert first.question.endswith("What, 0?\nA. NA\nB. None\nC. a, b\nD. 1\nAnswer:")
    assert first.question.count("Answer: D") == 5
    with pytest.raises(InputError, match="has no abstract_algebra_dev"):
        mmlu.read([str(tmp_path / "abstract_algebra_test.csv")])


def test_mmlu_reads_the_published_files(shared):
    folder = shared / "data" / "mmlu_sample"
    files = [str(path) for split in ("dev", "test") for path in sorted((folder / split).glob("*.csv"))]
    items = mmlu.read(files)[""]
    assert len({item.metadata["subject"] for item in items}) == 57
    assert json.dumps([item.target for item in items])
