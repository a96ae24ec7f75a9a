"""What the registry finds, and that a new benchmark is one new file."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mmgic.analysis.report import write_report
from mmgic.analysis.summary import summary_table
from mmgic.cli import main
from mmgic.documents.tasks import TEMPLATES
from mmgic.errors import InputError
from mmgic.evaluation import benchmarks as package
from mmgic.evaluation import registry
from mmgic.evaluation.benchmark import Task
from mmgic.evaluation.running import evaluate
from mmgic.presets import preset
from mmgic.toy.datasets.benchmarks import examples
from mmgic.toy.datasets.samples import World
from mmgic.training.export import export_untrained

TRIAL = Path(__file__).with_name("trial_vqa.py")


def test_benchmarks_are_the_files_of_the_folder():
    files = {path.stem for path in Path(package.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(registry.benchmarks()) == files >= {"coco_captions", "pope"}
    for benchmark in registry.benchmarks().values():
        assert benchmark.files
        assert set(benchmark.headline)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="there is no benchmark 'coco'; did you mean 'coco_captions'"):
        registry.find("coco")


def test_every_task_has_a_template():
    assert set(Task.__args__) <= set(TEMPLATES)


def test_presets_hold_every_benchmark():
    for name, root in (("toy-all", "{output}/world"), ("mmgic-7b", "data")):
        assert preset(name).evaluation.benchmarks == registry.downloaded(root)
    # the demo has minutes
    assert [found.name for found in preset("toy").evaluation.benchmarks] == ["coco_captions", "pope"]
    [pope] = [found for found in registry.downloaded("data") if found.name == "pope"]
    assert pope.files[0] == "data/pope/coco_pope_random.json"
    assert pope.images == "data/coco/val2014"


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a benchmark whose file was put beside the others."""
    folder = tmp_path / "more_benchmarks"
    folder.mkdir()
    shutil.copy(TRIAL, folder)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    registry.benchmarks.cache_clear()
    yield TRIAL.stem
    monkeypatch.undo()
    registry.benchmarks.cache_clear()


def test_a_new_benchmark_is_one_file(trial: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its file alone brings the command, the toy files, the presets' settings, a run, a row of the table, a page."""
    world = examples(World(0), 4)
    for benchmark in registry.benchmarks().values():
        benchmark.write_examples(world, tmp_path / "world")
    settings = replace(preset("toy-test"), output=str(tmp_path))
    chosen = tuple(b for b in registry.downloaded(str(tmp_path / "world")) if b.name in ("coco_captions", trial))
    settings = replace(settings, evaluation=replace(settings.evaluation, benchmarks=chosen, max_images=3))
    folder = tmp_path / "evaluation" / "trained"
    results = evaluate(settings, export_untrained(settings, tmp_path / "model"), folder)
    assert [found.title for found in results.benchmarks] == ["COCO captions", "Trial VQA"]
    assert list(results.benchmarks[1].scores) == ["accuracy", "color", "unreadable"]

    answers = json.loads((folder / f"{trial}.json").read_text())
    questions = [question for picture in world.pictures for question in picture.questions]
    assert [a["question_id"] for a in answers] == list(range(sum(len(p.questions) for p in world.pictures[:3])))
    right = [{"question_id": i, "answer": question.answer} for i, question in enumerate(questions)]
    (tmp_path / "right.json").write_text(json.dumps(right))
    command = ["score", trial, "--predictions", str(tmp_path / "right.json"), "--annotations", *chosen[1].files]
    capsys.readouterr()  # what libraries print when they are imported
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scores"]["accuracy"] == {"printed": 100, "raw": 1, "unit": "%"}

    assert "Trial VQA accuracy (%)" in summary_table(tmp_path, settings)
    page = write_report(tmp_path, settings).read_text()
    assert "<h2>Trial VQA</h2>" in page
    assert questions[0].text in page
