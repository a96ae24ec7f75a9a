"""What a worker of a data stage loads before it knows its work: a second's worth, not ten and a gigabyte."""

import subprocess
import sys

HEAVY = {"torch", "torchvision", "transformers", "peft", "diffusers", "deepspeed", "openai", "matplotlib", "spacy"}


def test_the_pipelines_bring_no_models_into_a_worker() -> None:
    code = f"import sys, mmgic.pipelines.build; print(sorted({HEAVY} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
