"""`mmgic score` as a user calls it."""

import json
import subprocess
import sys

from mmgic.cli import main


def test_pope_scores_as_json_and_as_a_table(tmp_path, capsys):
    questions = [
        {"question_id": i, "image": "a.jpg", "text": "?", "label": label} for i, label in enumerate(["yes", "no"])
    ]
    annotations, answers = tmp_path / "pope.json", tmp_path / "answers.json"
    annotations.write_text(json.dumps(questions))
    answers.write_text("\n".join(json.dumps({"question_id": i, "answer": "Yes"}) for i in range(2)))
    command = ["score", "pope", "--predictions", str(answers), "--annotations", str(annotations)]
    assert main([*command, "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert (scores["accuracy"], scores["recall"], scores["yes_ratio"], scores["questions"]) == (0.5, 1, 1, 2)
    assert main(command) == 0
    assert "f1             0.6667" in capsys.readouterr().out


def test_captions_and_a_missing_id(tmp_path, capsys):
    references = [(1, "a red ball on a table"), (2, "two dogs play")]
    annotations, results = tmp_path / "captions.json", tmp_path / "results.json"
    annotations.write_text(json.dumps({"annotations": [{"image_id": i, "caption": c} for i, c in references]}))
    results.write_text(json.dumps([{"image_id": i, "caption": c} for i, c in references]))
    command = ["score", "coco-caption", "--json", "--predictions", str(results), "--annotations", str(annotations)]
    assert main(command) == 0
    scores = json.loads(capsys.readouterr().out)
    # one reference equal to the caption scores 10 for the 4 n-gram orders that it has; "two dogs play" has three
    assert scores["CIDEr"] == (10 + 7.5) / 2
    results.write_text(json.dumps([{"image_id": 1, "caption": "a"}]))
    assert main(command) == 2
    assert "lack 1 (2) image ids" in capsys.readouterr().err


def test_scoring_needs_no_torch():
    code = "import sys, mmgic.evaluation.cli, mmgic.evaluation.scorers.cider; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
