"""`mmgic score` as a user calls it."""

import json
import subprocess
import sys

import pytest

from mmgic.cli import main
from mmgic.evaluation.registry import benchmarks


def write_pope(folder, name, labels, answers):
    questions = [{"question_id": i, "image": "a.jpg", "text": "?", "label": label} for i, label in enumerate(labels)]
    (folder / f"{name}.json").write_text(json.dumps(questions))
    lines = [json.dumps({"question_id": i, "answer": answer}) for i, answer in enumerate(answers)]
    (folder / f"{name}_answers.json").write_text("\n".join(lines))
    return str(folder / f"{name}_answers.json"), str(folder / f"{name}.json")


def test_pope_scores_as_json_and_as_a_table(tmp_path, capsys):
    answers, annotations = write_pope(tmp_path, "pope", ["yes", "no"], ["Yes", "Yes"])
    command = ["score", "pope", "--predictions", answers, "--annotations", annotations]
    assert main([*command, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    scores = {name: score["raw"] for name, score in result["scores"].items()}
    assert (scores["accuracy"], scores["recall"], scores["said yes"], result["parts"][0]["items"]) == (0.5, 1, 1, 2)
    assert result["scores"]["accuracy"] == {"printed": 50, "raw": 0.5, "unit": "%"}
    assert result["constants"]["No"]["accuracy"]["raw"] == 0.5
    assert main(command) == 0
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    table = {cells[0]: [cell.strip() for cell in cells[1:] if cell.strip()] for cells in lines}
    assert table["POPE"] == ["score", 'always "Yes"', 'always "No"']
    assert table["F1 (%)"] == ["66.67", "66.67", "0.00"]
    assert table["unreadable"] == ["0"]


def test_files_of_several_parts_have_a_mean(tmp_path, capsys):
    files = [
        write_pope(tmp_path, "random", ["yes", "no"], ["Yes", "No"]),
        write_pope(tmp_path, "popular", ["yes", "no"], ["Yes", "maybe"]),
    ]
    predictions, annotations = zip(*files, strict=True)
    command = ["score", "pope", "--annotations", *annotations, "--predictions"]
    assert main([*command, *predictions, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [part["name"] for part in result["parts"]] == ["random", "popular"]
    f1 = [part["scores"]["F1"]["raw"] for part in result["parts"]]
    assert f1 == [1, pytest.approx(2 / 3)]
    assert result["scores"]["F1"]["printed"] == pytest.approx(100 * sum(f1) / 2)
    assert result["scores"]["unreadable"]["raw"] == 1  # counts are summed
    assert main([*command, *predictions]) == 0
    assert "random" in capsys.readouterr().out
    assert main([*command, predictions[0]]) == 2
    assert "has 2 parts" in capsys.readouterr().err


def test_captions_and_a_missing_id(tmp_path, capsys):
    references = [(1, "a red ball on a table"), (2, "two dogs play")]
    annotations, results = tmp_path / "captions.json", tmp_path / "results.json"
    annotations.write_text(json.dumps({"annotations": [{"image_id": i, "caption": c} for i, c in references]}))
    results.write_text(json.dumps([{"image_id": i, "caption": c} for i, c in references]))
    command = ["score", "coco_captions", "--json", "--predictions", str(results), "--annotations", str(annotations)]
    assert main(command) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    # one reference equal to the caption scores 10 for the 4 n-gram orders that it has; "two dogs play" has three
    assert scores["CIDEr"] == {"printed": 100 * (10 + 7.5) / 2, "raw": (10 + 7.5) / 2, "unit": "x100"}
    results.write_text(json.dumps([{"image_id": 1, "caption": "a"}]))
    assert main(command) == 2
    assert "none to 1 (2)" in capsys.readouterr().err


def test_every_benchmark_has_a_command(capsys):
    with pytest.raises(SystemExit):
        main(["score", "--help"])
    shown = capsys.readouterr().out
    assert all(name in shown and benchmark.title in shown for name, benchmark in benchmarks().items())


def test_scoring_needs_no_torch():
    code = "import sys, mmgic.evaluation.cli as c; c.benchmarks(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
