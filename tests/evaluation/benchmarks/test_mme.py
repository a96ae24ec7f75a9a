"""MME: the first four characters, points of a subtask, the authors' folder of answers."""

from __future__ import annotations

import pytest

from mmgic.errors import InputError
from mmgic.evaluation.benchmark import Item, ItemAnswer
from mmgic.evaluation.benchmarks.mme import BENCHMARK, COGNITION, PERCEPTION, read, says, score
from mmgic.evaluation.scoring import score_files
from tests.evaluation.benchmarks.conftest import raw, score_records


@pytest.mark.parametrize(
    ("answer", "read_as"),
    [("Yes", "yes"), ("yes, it is", "yes"), ("No.", "no"), ("Know", "no"), ("nothing", "no"), ("Nope", "no"),
     ("  yes", ""), (" no", "no"), ("maybe", ""), ("", "")],
)  # fmt: skip
def test_the_first_four_characters_decide(answer, read_as):
    assert says(answer) == read_as


def items(tasks, images=2):
    return [
        Item(f"{task}/{image}", "open_vqa", f"{answer}?", target=(answer,), metadata={"task": task})
        for task in tasks for image in range(images) for answer in ("yes", "no")
    ]  # fmt: skip


def test_points_are_accuracy_and_pairs():
    scored = score(items(["count"]), ["Yes", "No", "No", "No"])
    assert raw(scored)["count"] == 125  # three of four, one image of two
    assert any("existence" in note and "no perception" in note for note in scored.notes)
    assert "perception" not in scored.scores


def test_all_subtasks_make_the_sums_and_one_answer_to_all_is_told():
    asked = items((*PERCEPTION, *COGNITION))
    right = score(asked, [item.target[0] for item in asked])
    assert [raw(right)[name] for name in ("total", "perception", "cognition")] == [2800, 2000, 800]
    always = score(asked, ["Yes"] * len(asked))
    assert raw(always)["total"] == 14 * 50
    assert sum("are read as 'yes'" in note for note in always.notes) == 14


def test_the_authors_folder_has_the_same_scores_as_shuffled_records(example_files, tmp_path):
    files = example_files("mme")
    asked = read(files)[""]
    answers = [ItemAnswer("Yes" if i % 3 else "No") for i in range(len(asked))]
    BENCHMARK.predictions.write(tmp_path / "mme.json", asked, answers)
    lines = (tmp_path / "mme.json").read_text().splitlines()
    (tmp_path / "shuffled.json").write_text("\n".join(reversed(lines)))
    found = [score_files("mme", [str(tmp_path / name)], files)[0] for name in ("mme", "mme.json", "shuffled.json")]
    assert found[0].scores == found[1].scores == found[2].scores
    assert len({result.parts[0].digest for result in found}) == 1


def test_one_answer_for_two_questions_is_refused(example_files, tmp_path):
    files = example_files("mme")
    once = {item.id: {"question_id": item.id, "answer": "Yes"} for item in read(files)[""]}
    with pytest.raises(InputError, match="fewer answers than questions to 28"):
        score_records("mme", files, list(once.values()), tmp_path)


def test_lines_that_are_no_pairs_are_refused(tmp_path):
    path = tmp_path / "count.txt"
    path.write_text("a.jpg\tOne?\tYes\nb.jpg\tTwo?\tNo\n")
    with pytest.raises(InputError, match="lacks a Yes and a No in a row"):
        read([str(path)])
    path.write_text("a.jpg\tOne?\n")
    with pytest.raises(InputError, match="two lines about each image"):
        read([str(path)])
    with pytest.raises(InputError, match="none of MME's subtasks"):
        read([str(path.rename(tmp_path / "other.txt"))])
