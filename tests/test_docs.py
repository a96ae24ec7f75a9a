"""What is written for people is true: generated pages are up to date, each command parses, examples load."""

import argparse
import json
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mmgic.arguments import Parser
from mmgic.checks.run import check_run
from mmgic.cli import add_settings_flags, make_parser
from mmgic.presets import preset
from mmgic.settings import load_settings
from mmgic.sources.formats import read_source

ROOT = Path(__file__).resolve().parents[1]
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "docs" / "vision.md", ROOT / "examples" / "my.yaml"]
SHELL = {"cd", "source", "export", "eval", "pip"}
PYTHON_MODULES = {"mmgic.toy.models.language_model_server"}


@pytest.mark.parametrize("name", ["settings.md", "presets.md", "formats.md"])
def test_generated_pages_are_up_to_date(name: str) -> None:
    pages = runpy.run_path(str(ROOT / "docs" / "generate.py"))["PAGES"]
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == pages[name](), "run make docs"


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands() -> Iterator[list[str]]:
    """The words of each command in a block of a shell, as they would be pasted."""
    for text in TEXTS:
        content = text.read_text(encoding="utf-8")
        if text.suffix == ".yaml":
            found = ["\n".join(line.lstrip("# ") for line in content.splitlines() if line.startswith("#   mmgic"))]
        else:
            found = blocks(content, "bash")
        for line in "\n".join(found).replace("\\\n", " ").splitlines():
            for command in re.split(r"&&|;", line.partition(" #")[0]):
                words = shlex.split(command.partition(" > ")[0], comments=True)
                if words and words[0] not in SHELL:
                    yield words


COMMANDS = list(commands())


def parse(words: list[str]) -> None:
    """Parses a command as it would be before it does anything. Exits or fails if it cannot be."""
    program, *rest = words
    if program == "make":
        assert set(rest) <= set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    elif program == "mmgic":
        make_parser().parse_args(rest)
    elif program == "python" and rest[0] == "-m":
        assert rest[1] in PYTHON_MODULES | {"mmgic"}
    elif program == "python":
        script, *flags = rest
        parse_script(ROOT / script.removeprefix("../"), flags)
    elif program == "ray":
        parse_ray(rest)
    else:
        assert program in ("tensorboard", ".venv/bin/pre-commit"), program


def parse_script(script: Path, flags: list[str]) -> None:
    """The script's own flags, read without running it."""
    if script.parent.name == "jobs":
        [job] = re.findall(r"^from mmgic\.jobs import (\w+)$", script.read_text(), re.MULTILINE)
        make_parser().parse_args([job.replace("_", "-"), *flags])
        return
    assert script.is_file()
    if script.parent.name == "tune":
        parser = Parser()
        runpy.run_path(str(script)).get("add_flags", add_settings_flags)(parser)
        parser.parse_args(flags)


def parse_ray(words: list[str]) -> None:
    from ray.scripts.scripts import cli

    command: Any = cli
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    entry = words[words.index("--") + 1 :] if "--" in words else []
    context = command.make_context(command.name, list(words))
    assert not entry or list(context.params["entrypoint"]) == entry
    if entry:
        parse(entry)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_each_command_can_be_pasted(words: list[str]) -> None:
    refused = ""
    try:
        parse(words)
    except SystemExit:  # the parser has said on standard error why
        refused = " ".join(words)
    assert refused == ""


def test_there_are_commands_of_every_kind() -> None:
    assert {"make", "mmgic", "ray", "tensorboard"} <= {words[0] for words in COMMANDS}


CHEAP = [words for words in COMMANDS if words[:2] == ["mmgic", "formats"] or "--print-config" in words]


@pytest.mark.parametrize("words", CHEAP, ids=" ".join)
def test_cheap_commands_run(words: list[str], tmp_path: Path) -> None:
    assert words[0] == "mmgic"
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert not list(tmp_path.iterdir())


def named() -> Iterator[str]:
    """What running text and tables call by name, such as `mmgic score BENCHMARK`."""
    for text in TEXTS:
        content = re.sub(r"```.*?```", "", text.read_text(encoding="utf-8"), flags=re.DOTALL)
        yield from re.findall(r"`(mmgic [^`]+)`", content)


@pytest.mark.parametrize("command", sorted(set(named())))
def test_each_command_that_is_named_is_there(command: str) -> None:
    _, *words = command.split()
    parser: argparse.ArgumentParser = make_parser()
    names = [word for word in words if not word.startswith(("-", "[")) and word not in ("/", "...")]
    while names and names[0].islower():
        below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        if not below:
            break
        assert names[0] in below[0].choices, command
        if "/" in words:  # several of one parent
            parser = parser if len(names) < len(words) and parser.prog != "mmgic" else below[0].choices[names[0]]
        else:
            parser = below[0].choices[names[0]]
        names = names[1:]
    known = parser._option_string_actions
    assert all(word.rstrip(",") in known for word in words if word.startswith("--")), command


@pytest.mark.parametrize("text", blocks((ROOT / "README.md").read_text(encoding="utf-8"), "yaml"))
def test_the_readme_s_settings_load(text: str, tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(text)
    assert load_settings(preset("mmgic-7b"), tmp_path / "my.yaml").sources[0].name == "coco"


def test_the_example_reads_a_dataset_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data" / "mine"
    for name in ("annotations", "images"):
        (folder / name).mkdir(parents=True)
    images = [{"id": i, "file_name": f"{i}.png", "width": 80, "height": 80} for i in range(3)]
    for image in images:
        Image.new("RGB", (80, 80)).save(folder / "images" / image["file_name"])
    boxes = [{"id": i, "image_id": i, "category_id": 1, "bbox": [5, 5, 40, 40]} for i in range(3)]
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "dog"}]}
    (folder / "annotations" / "instances.json").write_text(json.dumps(content))
    settings = load_settings(preset("toy"), ROOT / "examples" / "my.yaml")
    findings = check_run(settings)
    assert findings.problems == []
    assert ["drawn scenes alone" in warning for warning in findings.warnings] == [True]
    [source] = settings.sources
    assert [row["keep"] for row in read_source(source)] == [True] * 3
