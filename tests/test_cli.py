"""What every command owes its user: help with defaults, answers to a slip, and a way to find it."""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from mmgic.cli import make_parser

ROOT = Path(__file__).resolve().parents[1]


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Of all commands, at any depth."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from parsers(below)


COMMANDS = {parser.prog: parser for parser in parsers(make_parser())}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_each_flag_is_and_its_default(name: str) -> None:
    parser = COMMANDS[name]
    text = " ".join(parser.format_help().split())
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            assert all(choice.help for choice in action._choices_actions)
            continue
        assert action.help, f"{name}: {action.dest}"
        if action.option_strings and action.default not in (None, "", [], argparse.SUPPRESS, False):
            about = text[text.index(f" {action.option_strings[-1]} ", text.index("options:")) :]
            assert "default: " in about.partition(" --")[2], f"{name}: {action.dest}"


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command answers to arguments that it cannot use, without its usage."""
    with pytest.raises(SystemExit) as stopped:
        make_parser().parse_args(arguments)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error[error.index("error: ") :]


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (["pretrian"], "did you mean 'pretrain'?"),
        (["vision", "tokenise"], "did you mean 'tokenize'?"),
        (["score", "pop"], "did you mean 'pope'?"),
        (["build", "--only", "mmgci"], "did you mean 'mmgic'?"),
        (["build", "--preset", "mmgic7b"], "did you mean 'mmgic-7b'?"),
        (["build", "--confg", "my.yaml"], "did you mean --config?"),
        (["train-toy-model", "lama", "--output", "x"], "did you mean 'llama'?"),
    ],
)
def test_a_slip_is_answered_with_the_nearest_name(
    arguments: list[str], near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = refusal(capsys, *arguments)
    assert near in answer
    assert answer.count("\n") == 1


def test_what_resembles_nothing_is_answered_with_all_names(capsys: pytest.CaptureFixture[str]) -> None:
    answer = refusal(capsys, "xyzzy")
    assert "did you mean" not in answer
    assert "'pretrain'" in answer


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["view", "x", "--port", "0"], "--port: it is 0; it must lie between 1 and 65535"),
        (["view", "x", "--port", "65536"], "--port: it is 65536; it must lie between 1 and 65535"),
        (["view", "x", "--port", "http"], "--port: 'http' is no whole number"),
        (["toy", "make", "--output", "x", "--scenes", "0"], "--scenes: it is 0; it must be at least 1"),
        (["toy", "downloads", "x", "--seed", "-1"], "--seed: it is -1; it must"),
        (["vision", "reconstruct", "a.png", "--output", "b.png", "--steps", "0"], "--steps: it is 0"),
    ],
)
def test_a_number_out_of_range_is_refused(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sentence in refusal(capsys, *arguments)


def python_m(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mmgic", *arguments], capture_output=True, text=True, timeout=120, cwd=folder
    )


def test_the_package_runs_as_a_module_in_any_folder(tmp_path: Path) -> None:
    done = python_m("--version", folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"mmgic {version('mmgic')}\n")
    done = python_m("pretrain", "--preset", "toy", "--set", "seed=7", "--print-config", folder=tmp_path)
    assert done.returncode == 0
    assert "\nseed: 7\n" in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_shell_completes_commands_and_flags(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = make_parser().parse_args(["completion", shell])
    arguments.run(arguments)
    script = capsys.readouterr().out
    for word in ("pretrain", "reconstruct", "--preset", "toy-test"):
        assert word in script


def test_bash_understands_the_completion(tmp_path: Path) -> None:
    (tmp_path / "completion").write_text(python_m("completion", "bash", folder=tmp_path).stdout)
    ask = "source completion; COMP_WORDS=(mmgic vision rec); COMP_CWORD=2; _shtab_mmgic; echo ${COMPREPLY[@]}"
    done = subprocess.run(["bash", "-c", ask], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["reconstruct"]


def test_commands_start_without_models() -> None:
    heavy = {"torch", "transformers", "ray", "deepspeed", "diffusers", "spacy", "matplotlib"}
    code = f"import sys, mmgic.cli; mmgic.cli.make_parser(); print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
