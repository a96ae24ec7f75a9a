"""From an exported model and image files to predictions, scores and the control; all on the toy weights."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mmgic.errors import InputError
from mmgic.evaluation.results import read_items, read_results
from mmgic.evaluation.running import evaluate
from mmgic.evaluation.scoring import score_files
from mmgic.evaluation.visual_codes import other_images
from mmgic.presets import preset
from mmgic.settings import BenchmarkSettings, EvaluationSettings
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
        benchmarks=tuple(
            BenchmarkSettings(name=name, files=(str(folder / file),), images=str(folder))
            for name, file in (("coco_captions", "captions.json"), ("pope", "pope.json"))
        ),
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
    results, folder = scored
    assert read_results(folder) == results
    for benchmark, found in zip(settings.evaluation.benchmarks, results.benchmarks, strict=True):
        predictions = [str(folder / part.predictions) for part in found.parts]
        again = score_files(benchmark.name, predictions, benchmark.files)[0]
        assert (again.scores, again.constants) == (found.scores, found.constants)
    assert results.model == str(model)
    assert [(found.benchmark, found.parts[0].items, found.parts[0].images) for found in results.benchmarks] == [
        ("coco_captions", 3, 3),
        ("pope", 6, 3),
    ]
    captions, pope = results.benchmarks
    numbers = {
        "COCO captions CIDEr (x100)": 100 * captions.scores["CIDEr"].raw,
        "POPE F1 (%)": 100 * pope.scores["F1"].raw,
    }
    assert results.numbers() == pytest.approx(numbers)
    report = json.loads((folder / "scores.json").read_text())
    assert report["benchmarks"][0]["scores"]["CIDEr"]["printed"] == pytest.approx(100 * captions.scores["CIDEr"].raw)
    assert "evaluation:" in (folder / "settings.yaml").read_text()


def test_constant_answers_stand_beside_the_models(scored):
    constants = scored[0].benchmarks[1].constants
    assert list(constants) == ["Yes", "No"]
    assert (constants["Yes"]["F1"].raw, constants["Yes"]["accuracy"].raw) == (pytest.approx(2 / 3), 0.5)
    assert (constants["No"]["F1"].raw, constants["No"]["accuracy"].raw) == (0, 0.5)


def test_every_item_is_kept_with_what_was_said(run, scored):
    items = read_items(scored[1])
    assert [item.benchmark for item in items] == ["coco_captions"] * 3 + ["pope"] * 6
    said = {r["image_id"]: r["caption"] for r in json.loads((scored[1] / "coco_captions.json").read_text())}
    assert {item.id: item.answer for item in items[:3]} == said
    assert items[3].question == "Is there a cat in the image?"
    assert items[3].target == ["yes"]
    assert items[3].images == [f"{run[0].evaluation.benchmarks[1].images}/a.png"]
    assert set(items[3].logprobs) == {"Yes", "No"}


def test_answers_are_the_more_probable_option(scored):
    answers = [json.loads(line) for line in (scored[1] / "pope_pope.json").read_text().splitlines()]
    assert [answer["question_id"] for answer in answers] == [14, 15, 6, 7, 10, 11]
    for answer in answers:
        assert answer["answer"] == ("Yes" if answer["logprobs"]["Yes"] >= answer["logprobs"]["No"] else "No")


def test_the_control_says_what_the_model_said_of_the_other_image(run, scored, tmp_path):
    settings, model = run
    evaluate(settings, model, tmp_path, control="other_image")
    own, control = (
        {record["image_id"]: record["caption"] for record in json.loads((folder / "coco_captions.json").read_text())}
        for folder in (scored[1], tmp_path)
    )
    ids = {name: i for i, name in NAMES.items()}
    other = other_images(NAMES.values())
    assert control == {i: own[ids[other[name]]] for i, name in NAMES.items()}


def test_fewer_images_are_the_first_ones(run, tmp_path):
    settings, model = run
    evaluate(replace(settings, evaluation=replace(settings.evaluation, max_images=2)), model, tmp_path)
    captions = json.loads((tmp_path / "coco_captions.json").read_text())
    assert [record["image_id"] for record in captions] == [7, 3]
    assert len((tmp_path / "pope_pope.json").read_text().splitlines()) == 4


def test_what_cannot_be_evaluated_is_said(run, tmp_path):
    settings, model = run
    with pytest.raises(InputError, match="nothing to evaluate on"):
        evaluate(replace(settings, evaluation=EvaluationSettings()), model, tmp_path)
    with pytest.raises(InputError, match="holds no exported model"):
        evaluate(settings, tmp_path / "absent", tmp_path)

    def refused(*benchmarks, match):
        with pytest.raises(InputError, match=match):
            evaluate(replace(settings, evaluation=replace(settings.evaluation, benchmarks=benchmarks)), model, tmp_path)

    captions, pope = settings.evaluation.benchmarks
    refused(pope, pope, match="has pope twice")
    refused(replace(pope, name="popes"), match="there is no benchmark 'popes'; did you mean 'pope'")
    refused(replace(pope, files=pope.files * 2), match="are called pope")
    refused(replace(pope, images="absent"), match="the benchmark's image a.png in absent cannot be used")
    references = tmp_path / "references.json"
    references.write_text(json.dumps({"annotations": [{"image_id": 7, "caption": "a"}]}))
    refused(replace(captions, files=(str(references),)), match="item 7 of .* has no image")
