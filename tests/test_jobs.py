"""What every script in jobs/ and tune/ owes its user."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted([*ROOT.glob("jobs/*.py"), *ROOT.glob("tune/*.py")])


def run(script: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(script), *flags], capture_output=True, text=True, timeout=120)


def test_no_script_shadows_a_module() -> None:
    # python jobs/x.py puts jobs/ first on the path, so a file named like a module would replace it
    taken = sys.stdlib_module_names | {
        "datasets",
        "evaluate",
        "ray",
        "torch",
        "transformers",
        "tokenizers",
        "deepspeed",
    }
    assert not taken & {script.stem for script in SCRIPTS}


@pytest.mark.parametrize("script", [ROOT / "jobs/pretrain.py"], ids=lambda s: s.stem)
def test_a_typo_ends_in_one_sentence_and_code_2(script: Path) -> None:
    result = run(script, "--set", "training.batchsize=8")
    assert result.returncode == 2
    assert result.stderr.strip() == "error: unknown setting 'training.batchsize'; did you mean 'training.batch_size'?"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--set", "sources=[]"], "there are no 'sources'; add one"),
        (["--only", "mmc4"], "none of the 'sources' belongs to mmc4; add one"),
    ],
)
def test_a_build_without_sources_ends_before_anything_is_made(flags: list[str], sentence: str, tmp_path: Path) -> None:
    result = run(ROOT / "jobs/build_data.py", "--set", f"output={tmp_path}/out", *flags)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {sentence}")
    assert not (tmp_path / "out").exists()


def test_a_value_outside_the_range_is_refused_before_a_sweep_starts() -> None:
    result = run(ROOT / "tune/mask_prob.py", "--values", "0.5", "1.5")
    assert result.returncode == 2
    assert result.stderr.strip() == "error: 'loss.mask_prob' is 1.5; it must lie between 0 and 1"


def test_print_config_shows_the_effective_settings() -> None:
    result = run(ROOT / "jobs/pretrain.py", "--preset", "mmgic-7b", "--set", "loss.mask_prob=0.4", "--print-config")
    assert result.returncode == 0
    assert "mask_prob: 0.4" in result.stdout
    assert "batch_size: 512" in result.stdout
