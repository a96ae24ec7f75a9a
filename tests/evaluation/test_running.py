"""From an exported model and image files to predictions, scores and the control; all on the toy weights."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mmgic.errors import InputError
from mmgic.evaluation.running import evaluate
from mmgic.evaluation.scorers.cider import score_caption_files
from mmgic.evaluation.scorers.pope import score_pope_files
from mmgic.evaluation.visual_codes import other_images
from mmgic.presets import preset
from mmgic.settings import EvaluationSettings
from mmgic.training.export import export_untrained

NAMES = {7: "a.png", 3: "b.png", 5: "c.png"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(settings, model folder) of a benchmark of three noise images."""
    folder = tmp_path_factory.mktemp("benchmark")
    rng = np.random.default_rng(0)
    for name in NAMES.values():
        Image.fromarray(rng.integers(0, 256, (70, 90, 3), np.uint8)).save(folder / name)
    images = [{"id": i, "file_name": name} for i, name in NAMES.items()]
    captions = [
        {"image_id": i, "caption": text} for i in NAMES for text in (f"a cat number {i}", "a red hat on a table")
    ]
    (folder / "captions.json").write_text(json.dumps({"images": images, "annotations": captions}))
    questions = [
        {"question_id": 2 * i + k, "image": name, "text": f"Is there a {thing} in the image?", "label": label}
        for i, name in NAMES.items()
        for k, (thing, label) in enumerate([("cat", "yes"), ("hat", "no")])
    ]
    (folder / "pope.json").write_text("\n".join(map(json.dumps, questions)))
    evaluation = EvaluationSettings(
        engine="transformers",
        captions=str(folder / "captions.json"),
        caption_images=str(folder),
        pope=(str(folder / "pope.json"),),
        pope_images=str(folder),
        max_new_tokens=12,
    )
    settings = replace(preset("toy-test"), evaluation=evaluation)
    return settings, export_untrained(settings, folder / "model")


@pytest.fixture(scope="module")
def scored(run, tmp_path_factory):
    settings, model = run
    folder = tmp_path_factory.mktemp("scored")
    return evaluate(settings, model, folder), folder


def test_written_predictions_have_the_reported_scores(run, scored):
    settings, model = run
    scores, folder = scored
    captions = score_caption_files(folder / "captions.json", settings.evaluation.captions)
    assert scores["cider"] == pytest.approx(100 * captions.cider)
    pope = score_pope_files(folder / "pope_answers.json", settings.evaluation.pope[0])
    assert scores["pope_f1"] == pytest.approx(100 * pope.f1)
    report = json.loads((folder / "scores.json").read_text())
    assert report["model"] == str(model)
    assert [(result["benchmark"], result["images"]) for result in report["benchmarks"]] == [
        ("coco-caption", 3),
        ("pope", 3),
    ]
    assert "evaluation:" in (folder / "settings.yaml").read_text()


def test_answers_are_the_more_probable_option(scored):
    answers = [json.loads(line) for line in (scored[1] / "pope_answers.json").read_text().splitlines()]
    assert [answer["question_id"] for answer in answers] == [14, 15, 6, 7, 10, 11]
    for answer in answers:
        assert answer["answer"] == ("Yes" if answer["logprob_yes"] >= answer["logprob_no"] else "No")


def test_the_control_says_what_the_model_said_of_the_other_image(run, scored, tmp_path):
    settings, model = run
    evaluate(settings, model, tmp_path, control="other_image")
    own, control = (
        {record["image_id"]: record["caption"] for record in json.loads((folder / "captions.json").read_text())}
        for folder in (scored[1], tmp_path)
    )
    ids = {name: i for i, name in NAMES.items()}
    other = other_images(NAMES.values())
    assert control == {i: own[ids[other[name]]] for i, name in NAMES.items()}


def test_fewer_images_are_the_first_ones(run, tmp_path):
    settings, model = run
    evaluate(replace(settings, evaluation=replace(settings.evaluation, max_images=2)), model, tmp_path)
    captions = json.loads((tmp_path / "captions.json").read_text())
    assert [record["image_id"] for record in captions] == [7, 3]
    assert len((tmp_path / "pope_answers.json").read_text().splitlines()) == 4


def test_what_cannot_be_evaluated_is_said(run, tmp_path):
    settings, model = run
    with pytest.raises(InputError, match="nothing to evaluate on"):
        evaluate(replace(settings, evaluation=EvaluationSettings()), model, tmp_path)
    with pytest.raises(InputError, match="holds no exported model"):
        evaluate(settings, tmp_path / "absent", tmp_path)
    twice = replace(settings.evaluation, pope=settings.evaluation.pope * 2)
    with pytest.raises(InputError, match="have one name"):
        evaluate(replace(settings, evaluation=twice), model, tmp_path)
