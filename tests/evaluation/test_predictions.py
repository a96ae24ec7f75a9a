"""Prediction files as any tool writes them: read, or refused in one sentence, never scored in silence."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import threading

import pytest

from mmgic.cli import main
from mmgic.errors import InputError
from mmgic.evaluation.benchmark import Item
from mmgic.evaluation.results import read_items
from mmgic.evaluation.scoring import constant_answers, score_files

THINGS = ["dog", "cat", "car", "cup"]
QUESTIONS = [
    {"question_id": i, "image": "a.jpg", "text": f"Is there a {thing} in the image?", "label": label}
    for i, (thing, label) in enumerate(zip(THINGS, ["yes", "yes", "no", "no"], strict=True), start=1)
]
ANSWERS = [{"question_id": q["question_id"], "answer": q["label"].title()} for q in QUESTIONS]


@pytest.fixture
def annotations(tmp_path):
    path = tmp_path / "pope.json"
    path.write_text(json.dumps(QUESTIONS))
    return str(path)


def table(records, delimiter, end="\n"):
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), delimiter=delimiter, lineterminator=end)
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def scored(tmp_path, annotations, content, name="p.json", **flags):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    result, _ = score_files("pope", [str(path)], [annotations], **flags)
    return result


LLAVA = [{"question_id": a["question_id"], "prompt": q["text"] + "\nAnswer the question using a single word or phrase.",
          "text": a["answer"], "model_id": "m"} for a, q in zip(ANSWERS, QUESTIONS, strict=True)]  # fmt: skip
VLMEVALKIT = [{"index": q["question_id"], "question": q["text"], "answer": q["label"], "prediction": a["answer"]}
              for a, q in zip(ANSWERS, QUESTIONS, strict=True)]  # fmt: skip
LMMS_EVAL = [{"doc_id": i, "doc": {**q, "answer": q["label"]}, "target": q["label"], "filtered_resps": [a["answer"]]}
             for i, (a, q) in enumerate(zip(ANSWERS, QUESTIONS, strict=True))]  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(ANSWERS),
        json.dumps({"results": ANSWERS}),
        json.dumps({str(a["question_id"]): a["answer"] for a in ANSWERS}),
        "\n".join(map(json.dumps, ANSWERS)),
        "\r\n".join(map(json.dumps, ANSWERS)),
        b"\xef\xbb\xbf" + json.dumps(ANSWERS).encode(),
        json.dumps(ANSWERS).encode("utf-16"),
        table(ANSWERS, ","),
        table(ANSWERS, "\t", "\r\n"),
        b"\xef\xbb\xbf" + table(ANSWERS, ";").encode(),
        json.dumps([{**a, "question_id": str(a["question_id"])} for a in ANSWERS]),  # ids of another type
        json.dumps(LLAVA),
        table(VLMEVALKIT, "\t"),
        "\n".join(map(json.dumps, LMMS_EVAL)),
    ],
    ids=["array", "object", "mapping", "lines", "crlf", "bom", "utf-16", "csv", "tsv", "semicolons", "texts as ids",
         "llava", "vlmevalkit", "lmms-eval"],
)  # fmt: skip
def test_every_form_has_the_same_scores_and_digest(tmp_path, annotations, content):
    result = scored(tmp_path, annotations, content)
    assert result.scores["F1"].raw == 1
    random.Random(0).shuffle(shuffled := list(ANSWERS))
    assert scored(tmp_path, annotations, json.dumps(shuffled)).parts[0].digest == result.parts[0].digest


def test_a_label_beside_a_prediction_is_not_the_answer(tmp_path, annotations):
    records = [{"question_id": q["question_id"], "answer": q["label"], "prediction": "no"} for q in QUESTIONS]
    result = scored(tmp_path, annotations, json.dumps(records))
    assert result.scores["accuracy"].raw == 0.5
    assert any("'answer' beside it is taken for the label" in note for note in result.parts[0].notes)


@pytest.mark.parametrize("field", ["question", "prompt", "text"])
def test_answers_to_other_questions_are_refused_whatever_the_field(tmp_path, annotations, field):
    records = [{**a, field: "Is there a fork in the image?"} for a in ANSWERS]
    with pytest.raises(InputError, match="is for 'Is there a fork"):
        scored(tmp_path, annotations, json.dumps(records))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[" * 100_000, "nested too deep"),
        ('{"question_id": 1, "x": ' + "[" * 100_000, "nested too deep"),
        ('[{"question_id": ' + "9" * 5000 + ', "answer": "Yes"}]', "that the benchmark does not have"),
        ('[{"question_id": 1, "answer": 1e99999}]', "none to"),
        ("[1, 2]", "record 1 of .* is no JSON object"),
        ('{"question_id": 1}\n[]', "record 2 of .* is no JSON object"),
        ("", "holds no records"),
        ("hello", "is no JSON, CSV or TSV"),
        ("a,a\n1,2\n", "two columns called 'a'"),
        ("question_id,answer\n1\n", "has 1 cells, not 2"),
        (b"PK\x03\x04", "archive"),
        (json.dumps([{**a, "answer": ["Yes", "No"]} for a in ANSWERS]), "'answer' has the wrong type"),
        (json.dumps([{**a, "answer": True} for a in ANSWERS]), "'answer' has the wrong type"),
        (json.dumps([{"said": "Yes"}] * 2), "'answer' is missing"),
        (json.dumps(ANSWERS)[:-8], "cut short|not JSON"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_sentence(tmp_path, annotations, content, message):
    with pytest.raises(InputError, match=message) as raised:
        scored(tmp_path, annotations, content)
    assert "\n" not in str(raised.value)


def test_excel_without_its_reader_is_named(tmp_path, annotations, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    with pytest.raises(InputError, match="save it as CSV, or install openpyxl"):
        scored(tmp_path, annotations, b"PK\x03\x04", "p.xlsx")


def test_a_subset_is_scored_when_asked_for_and_says_so(tmp_path, annotations):
    with pytest.raises(InputError, match=r"none to 2 \(3, 4\).*--subset scores those"):
        scored(tmp_path, annotations, json.dumps(ANSWERS[:2]))
    [part] = scored(tmp_path, annotations, json.dumps(ANSWERS[:2]), subset=True).parts
    assert (part.items, part.total) == (2, 4)
    assert any("a subset: 2 of 4 items" in note for note in part.notes)
    with pytest.raises(InputError, match="answers to 1 \\(9\\)"):
        scored(tmp_path, annotations, json.dumps([{"question_id": 9, "answer": "No"}]), subset=True)


def test_empty_unreadable_and_equal_answers_are_told(tmp_path, annotations):
    result = scored(tmp_path, annotations, table([{**a, "answer": ""} for a in ANSWERS], ","))
    assert result.scores["unreadable"].raw == 4
    assert "4 of 4 answers are empty" in result.parts[0].notes
    assert any(note.endswith("more than one: 4 (1, 2, 3, …)") for note in result.parts[0].notes)
    same = scored(tmp_path, annotations, json.dumps([{**a, "answer": "Yes"} for a in ANSWERS]))
    assert "all 4 answers are 'Yes'" in same.parts[0].notes


def test_a_pipe_is_read_once(tmp_path, annotations):
    for content in (json.dumps(ANSWERS), "\n".join(map(json.dumps, ANSWERS))):
        pipe = tmp_path / "pipe"
        pipe.unlink(missing_ok=True)
        os.mkfifo(pipe)
        threading.Thread(target=pipe.write_text, args=[content], daemon=True).start()
        assert score_files("pope", [str(pipe)], [annotations])[0].scores["F1"].raw == 1


def test_the_command_prints_rule_digests_and_counts_and_keeps_verdicts(tmp_path, annotations, capsys):
    predictions = tmp_path / "p.json"
    predictions.write_text(
        json.dumps([{**a, "answer": "maybe" if a["question_id"] == 3 else a["answer"]} for a in ANSWERS])
    )
    command = ["score", "pope", "--predictions", str(predictions), "--annotations", annotations]
    assert main([*command, "--items", str(tmp_path / "items.jsonl")]) == 0
    shown = capsys.readouterr().out
    assert "rule: F1 of yes" in shown
    assert shown.count("sha256") == 2
    assert "4 answers" in shown
    items = read_items(tmp_path)
    assert [(item.id, item.read, item.value) for item in items] == [
        (1, "yes", 1),
        (2, "yes", 1),
        (3, "", 0),
        (4, "no", 1),
    ]


def test_files_without_right_answers_name_the_server(tmp_path):
    questions = {"questions": [{"question_id": 1, "image_id": 1, "question": "?"}]}
    (tmp_path / "q.json").write_text(json.dumps(questions))
    (tmp_path / "p.json").write_text(json.dumps([{"question_id": 1, "answer": "red"}]))
    with pytest.raises(InputError, match=r"hold no right answers; submit the predictions to .*eval\.ai"):
        score_files("vqav2", [str(tmp_path / "p.json")], [str(tmp_path / "q.json")])


def test_constants_are_the_options_or_the_most_common_answer():
    yes_no = Item(1, "open_vqa", options=("Yes", "No"), target=("no",))
    free = [Item(i, "open_vqa", target=(answer,)) for i, answer in enumerate(["a", "b", "b"])]
    assert constant_answers([yes_no]) == ["Yes", "No"]
    assert constant_answers(free) == ["b"]
    assert constant_answers([Item(1, "image_caption", target=("a cat",))]) == []
