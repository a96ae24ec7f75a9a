"""What `mmgic check` finds before a run starts: all problems at once."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from mmgic.checks import cluster, sources
from mmgic.checks.machine import check_output, check_temporary
from mmgic.checks.problems import Findings
from mmgic.checks.run import check_run, refuse_problems
from mmgic.cli import main
from mmgic.errors import InputError
from mmgic.presets import TOY_WEIGHTS, preset
from mmgic.settings import BenchmarkSettings, Settings, merge
from mmgic.stages.tables import Manifest, write_manifest


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "local")


def write_coco(folder: Path, images: int = 3) -> dict[str, Any]:
    """A small COCO dataset; returns its settings."""
    (folder / "images").mkdir(parents=True)
    records = [{"id": i, "file_name": f"{i}.png", "width": 80, "height": 80} for i in range(images)]
    for record in records:
        Image.new("RGB", (80, 80)).save(folder / "images" / record["file_name"])
    content = {
        "images": records,
        "annotations": [{"id": i, "image_id": i, "category_id": 1, "bbox": [5, 5, 40, 40]} for i in range(images)],
        "categories": [{"id": 1, "name": "dog"}],
    }
    (folder / "instances.json").write_text(json.dumps(content))
    return {"name": folder.name, "format": "coco", "path": str(folder), "annotations": "instances.json"}


def settings_for(tmp_path: Path, *described: dict[str, Any], **changes: Any) -> Settings:
    base = replace(preset("toy"), toy=replace(preset("toy").toy, scenes=0), descriptions="")
    own = {"sources": list(described), "evaluation": {"benchmarks": []}, "training": {"curriculum": "mmgic"}}
    base = merge(base, {"output": str(tmp_path / "output"), **own})
    return merge(base, changes)


def problems(settings: Settings) -> list[str]:
    return check_run(settings).problems


def test_nothing_is_wrong_with_what_can_run(tmp_path: Path) -> None:
    findings = check_run(settings_for(tmp_path, write_coco(tmp_path / "coco")))
    assert findings.problems == []
    assert any("source 'coco': 3 sampled images open" in note for note in findings.notes)
    assert not (tmp_path / "output").exists()


def test_thirteen_things_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, unpacked = write_coco(tmp_path / "good"), write_coco(tmp_path / "unpacked")
    for image in (tmp_path / "unpacked" / "images").iterdir():
        image.unlink()
    cut = write_coco(tmp_path / "cut")
    text = (tmp_path / "cut" / "instances.json").read_text()
    (tmp_path / "cut" / "instances.json").write_text(text[: len(text) // 3])
    (tmp_path / "file").write_text("")
    llama = tmp_path / "llama"
    shutil.copytree(TOY_WEIGHTS / "llama", llama)
    (llama / "model.safetensors").unlink()
    (tmp_path / "names.tsv").mkdir()
    config = {
        "output": str(tmp_path / "file" / "output"),
        "toy": {"scenes": 0},
        "sources": [good, unpacked, cut, {**good, "name": "gone", "path": str(tmp_path / "gone")}],
        "descriptions": str(tmp_path / "descriptions.jsonl"),
        "captions": {"synthesize": True, "blip2": str(tmp_path / "blip2"), "clip": str(TOY_WEIGHTS / "llama")},
        "vision": {"checkpoint": str(tmp_path / "tokenizer")},
        "model": {"llm": str(llama)},
        "documents": {"max_tokens": 4096},
        "training": {"curriculum": "mmgic+vqa", "micro_batch_tokens": 2048},
        "evaluation": {"benchmarks": [{"name": "pope", "files": [str(tmp_path / "pope.json")]}]},
    }
    (tmp_path / "my.yaml").write_text(json.dumps(config))
    assert main(["check", "--config", str(tmp_path / "my.yaml")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: 13 things stop 'toy':")
    expected = [
        "source 'unpacked': 3 of 3 sampled images cannot be opened, such as",
        f"{tmp_path}/cut/instances.json is JSON that is cut short",
        f"source 'gone': the folder '{tmp_path}/gone' does not exist",
        f"cannot read {tmp_path}/descriptions.jsonl",
        f"captions.blip2 is '{tmp_path}/blip2', without a readable config.json",
        "a model of type 'llama'; it takes one of type 'clip'",
        f"{tmp_path}/tokenizer is no visual tokenizer",
        "documents.max_tokens is 4096, but",
        "training.micro_batch_tokens is 2048, less than a document may have (documents.max_tokens is 4096)",
        "no source makes documents of the corpus 'vqa'",
        f"{llama} holds no weights in safetensors",
        f"{tmp_path}/pope.json",
        f"but {tmp_path}/file is a file; choose a folder",
    ]
    for sentence in expected:
        assert sentence in error
    assert "Traceback" not in error


def test_a_step_without_its_model_is_refused_or_left_out_on_request(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "cc12m.tsv").write_text("http://x.test/1.jpg\ta dog\n")
    web = {"name": "web", "format": "cc12m", "path": str(tmp_path / "web")}
    settings = settings_for(tmp_path, write_coco(tmp_path / "coco"), web, captions={"synthesize": True, "merge": True})
    captions, merging = problems(settings)
    assert "captions.blip2 names no model" in captions
    assert "language_model.base_url names no server" in merging
    assert problems(merge(settings, {"captions": {"synthesize": False, "merge": False}})) == []
    asked = {"language_model": {"base_url": "http://127.0.0.1:9/v1"}, "captions": {"synthesize": False}}
    [problem] = problems(merge(settings, asked))
    assert "set language_model.model" in problem


def test_an_output_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    findings = Findings()
    check_output(f"{tmp_path}/file/below", findings)
    assert findings.problems == [f"'output' is {tmp_path}/file/below, but {tmp_path}/file is a file; choose a folder"]


def test_an_output_of_an_unknown_kind() -> None:
    findings = Findings()
    check_output("nosuch://bucket/x", findings, tables_alone=True)
    [problem] = findings.problems
    assert "nosuch://bucket/x cannot be opened" in problem
    assert "install the driver" in problem


def test_a_disk_that_is_too_small(tmp_path: Path) -> None:
    findings = Findings()
    check_output(str(tmp_path), findings, needed_bytes=1 << 60)
    [problem] = findings.problems
    assert "the run writes about 1,152,921,504.6 GB" in problem


def test_a_temporary_folder_that_is_too_long_for_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / ("x" * 80)
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    findings = Findings()
    check_temporary(findings)
    [problem] = findings.problems
    assert "set RAY_TMPDIR to a shorter one" in problem
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    findings = Findings()
    check_temporary(findings)
    assert findings.problems == []


def test_a_source_that_takes_long_is_said_to_be_unchecked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "AT_HAND_BYTES", 0)
    monkeypatch.setattr(sources, "SECONDS", 0.0)
    described = write_coco(tmp_path / "coco")
    findings = check_run(settings_for(tmp_path, described), ["data"])
    assert findings.problems == []
    assert any("take more than 0 s" in note for note in findings.notes)
    assert any("source 'coco': 3 sampled images open" in note for note in findings.notes)
    for image in (tmp_path / "coco" / "images").iterdir():
        image.write_bytes(b"no image")
    [problem] = check_run(settings_for(tmp_path, described), ["data"]).problems
    assert "3 of 3 sampled images cannot be opened" in problem
    [problem] = check_run(settings_for(tmp_path, {**described, "images": "pictures"}), ["data"]).problems
    assert "its 'images' name" in problem
    assert "which is not there" in problem


def test_the_room_of_images_that_are_fetched_by_url_is_counted(tmp_path: Path) -> None:
    lines = (f"http://x.test/{i:09}.jpg\ta caption of some words, {i}\n" for i in range(20_000))
    (tmp_path / "cc12m.tsv").write_text("".join(lines))
    source = {"name": "web", "format": "cc12m", "path": str(tmp_path)}
    findings = check_run(settings_for(tmp_path, source, training={"curriculum": "ic"}), ["data"])
    assert findings.fetched_bytes == pytest.approx(20_000 * sources.WEB_IMAGE_BYTES, rel=0.5)
    assert any("images are fetched by url, which take" in note for note in findings.notes)


def test_a_large_source_is_read_in_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "AT_HAND_BYTES", 0)
    monkeypatch.setattr(sources, "SECONDS", 300.0)  # a busy machine takes long to start a process
    described = write_coco(tmp_path / "coco")
    shutil.rmtree(tmp_path / "coco" / "images")
    (tmp_path / "coco" / "images").mkdir()
    findings = check_run(settings_for(tmp_path, described), ["data"])
    assert any("3 of 3 sampled images cannot be opened" in problem for problem in findings.problems)


def test_images_are_not_asked_for_once_their_tokens_are_there(tmp_path: Path) -> None:
    described = write_coco(tmp_path / "coco")
    for image in (tmp_path / "coco" / "images").iterdir():
        image.unlink()
    settings = settings_for(tmp_path, described)
    assert len(problems(settings)) == 1
    write_manifest(f"{tmp_path}/output/mmgic/tokens", Manifest("mmgic/tokens", "", 3, 3, 3, {}, {}, {}, 0.0))
    assert problems(settings) == []


@pytest.fixture(scope="module")
def sharded_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy Llama as two shards with an index."""
    folder = tmp_path_factory.mktemp("llama") / "llama"
    shutil.copytree(TOY_WEIGHTS / "llama", folder)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for shard, inside in shards.items():
        save_file({name: weights[name] for name in inside}, folder / shard)
    index = {"metadata": {}, "weight_map": {name: shard for shard, inside in shards.items() for name in inside}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def test_every_shard_of_a_language_model_is_looked_at(tmp_path: Path, sharded_llama: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(sharded_llama, folder)
    settings = settings_for(tmp_path, write_coco(tmp_path / "coco"), model={"llm": str(folder)})
    assert problems(settings) == []
    (folder / "model-00002-of-00002.safetensors").write_bytes(b"cut")
    [problem] = problems(settings)
    assert "model-00002-of-00002.safetensors is damaged" in problem
    (folder / "model-00002-of-00002.safetensors").unlink()
    [problem] = problems(settings)
    assert "model-00002-of-00002.safetensors is missing" in problem


def test_weights_of_another_vocabulary_are_named(tmp_path: Path, sharded_llama: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(sharded_llama, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": config["vocab_size"] + 64}))
    [problem] = problems(settings_for(tmp_path, write_coco(tmp_path / "coco"), model={"llm": str(folder)}))
    assert "its config.json says" in problem


def test_a_job_is_refused_with_all_problems(tmp_path: Path) -> None:
    settings = settings_for(
        tmp_path,
        {"name": "gone", "format": "coco", "path": str(tmp_path / "gone"), "annotations": "x.json"},
        vision={"checkpoint": str(tmp_path / "nothing")},
    )
    with pytest.raises(InputError, match=r"2 things stop this run:\n  1\. source 'gone'.*\n  2\. "):
        refuse_problems(settings, ["data"])


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("memory://out", "which each process has for itself"),
        ("/tmp/what?/out", "Ray reads no tables below a folder named with"),
        ("s3://bucket/out", "the token store, training and evaluation need a disk"),
        ("nonsense://out", "the token store, training and evaluation need a disk"),
    ],
)
def test_outputs_that_are_no_folder_are_refused(tmp_path: Path, output: str, said: str) -> None:
    settings = replace(settings_for(tmp_path, write_coco(tmp_path / "coco")), output=output)
    [problem] = check_run(settings, ["data"]).problems
    assert problem.startswith(f"'output' is {output}")
    assert said in problem


def test_a_benchmark_without_its_images(tmp_path: Path) -> None:
    pope = tmp_path / "pope.json"
    pope.write_text(json.dumps({"question_id": 1, "image": "a.png", "text": "Is there a dog?", "label": "yes"}) + "\n")
    entry = BenchmarkSettings(name="pope", files=(str(pope),), images=str(tmp_path))
    settings = settings_for(tmp_path, write_coco(tmp_path / "coco"))
    settings = replace(settings, evaluation=replace(settings.evaluation, benchmarks=(entry,)))
    [problem] = problems(settings)
    assert problem.startswith("benchmark 'pope': 1 of 1 sampled images cannot be opened")


def test_pools_that_can_never_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "cluster_size", lambda: {"CPU": 6, "GPU": 4})
    wanted = {"tokenizer_workers": 8, "tokenizer_gpus": 1, "training_workers": 8, "training_gpus": 1}
    settings = settings_for(tmp_path, write_coco(tmp_path / "coco"), cluster=wanted)
    assert [problem.partition(";")[0] for problem in problems(settings)] == [
        "8 tokenizer actors need 8 GPUs and the cluster has 4",
        "8 training workers need 8 GPUs and the cluster has 4",
        "8 training workers need 8 CPUs and the cluster has 6",
    ]
    growing = merge(settings, {"cluster": {"wait_for_nodes_s": 600.0}})
    assert problems(growing) == []
    assert "8 tokenizer actors need 8 GPUs and the cluster has 4; it is given 600 s to grow" in check_run(growing).notes


def test_no_fault_hides_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    settings = settings_for(
        tmp_path,
        write_coco(tmp_path / "one"),
        {"name": "gone", "format": "coco", "path": str(tmp_path / "gone"), "annotations": "x.json"},
        descriptions=str(tmp_path / "none.jsonl"),
        training={"curriculum": "ic", "micro_batch_tokens": 100},
    )
    manifest = tmp_path / "output/mmgic/tokens/manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_bytes(b"\xff\xfe{")
    found = problems(settings)
    for part in (
        f"TMPDIR is {tmp_path / 'gone'}",
        f"{manifest} is damaged",
        "source 'gone'",
        "none.jsonl",
        "no source makes documents of the corpus 'ic'; the sources make mmgic",
        "training.micro_batch_tokens is 100",
    ):
        assert any(part in problem for problem in found), (part, found)


def test_a_curriculum_that_cannot_be_read(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, write_coco(tmp_path / "coco"), training={"curriculum": "mmgic ->"})
    [problem] = problems(settings)
    assert "cannot be read from character 9 on" in problem


def test_weights_that_do_not_fit_their_config_are_named(tmp_path: Path) -> None:
    """By the headers alone: of the tokenizer, of the language model, of BLIP-2 and of CLIP."""
    folders = {}
    for name in ("tokenizer", "llama", "blip2", "clip_ranker"):
        folders[name] = tmp_path / name
        shutil.copytree(TOY_WEIGHTS / name, folders[name])
    changes = {
        "tokenizer": lambda config: config | {"depth": config["depth"] + 1},
        "llama": lambda config: config | {"num_hidden_layers": config["num_hidden_layers"] + 3},
        "clip_ranker": lambda config: config | {"projection_dim": config["projection_dim"] * 2},
    }
    for name, change in changes.items():
        path = folders[name] / "config.json"
        path.write_text(json.dumps(change(json.loads(path.read_text()))))
    (folders["blip2"] / "model.safetensors").write_bytes(b"cut")
    found = problems(
        settings_for(
            tmp_path,
            write_coco(tmp_path / "coco"),
            vision={"checkpoint": str(folders["tokenizer"])},
            model={"llm": str(folders["llama"])},
            captions={"synthesize": True, "blip2": str(folders["blip2"]), "clip": str(folders["clip_ranker"])},
        )
    )
    assert len(found) == 4, found
    for part in (
        "checkpoint lacks encoder.blocks",
        f"{folders['blip2']}/model.safetensors is damaged",
        str(folders["clip_ranker"]),
        str(folders["llama"]),
    ):
        assert any(part in problem for problem in found), (part, found)


def test_both_split_files_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    coco = write_coco(tmp_path / "coco")
    gone = {"karpathy": str(tmp_path / "karpathy.json"), "flickr30k": str(tmp_path / "entities")}
    for image in (tmp_path / "coco" / "images").iterdir():
        image.unlink()
    found = problems(settings_for(tmp_path, {**coco, **gone}))
    for part in (
        f"its 'karpathy' is {tmp_path}/karpathy.json",
        f"its 'flickr30k' is {tmp_path}/entities",
        "sampled images",
    ):
        assert any(part in problem for problem in found), (part, found)
    assert len(found) == 3


def test_training_of_the_visual_modules_is_checked_too(tmp_path: Path) -> None:
    gone = {"images": str(tmp_path / "none"), "encoder": str(tmp_path / "nothing")}
    settings = settings_for(tmp_path, tokenizer_training=gone, pixel_training={"start": ""})
    images, encoder = check_run(settings, ["tokenizer"]).problems
    assert images.startswith(f"{tmp_path}/none holds no images")
    assert str(tmp_path / "nothing") in encoder
    assert check_run(settings, ["pixels"]).problems
