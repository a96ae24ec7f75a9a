"""What a run was made with: code, packages and machine, for those who want to make it again."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import mmgic

PACKAGES = ("mmgic", "torch", "transformers", "ray", "deepspeed", "peft", "vllm")


def circumstances() -> dict[str, str]:
    """Commit, versions and machine of this process by what a person calls them."""
    return {"commit": _commit(), "packages": ", ".join(_packages()), "machine": _machine()}


def _commit() -> str:
    """The commit of the checkout that this package is imported from, marked if files differ from it."""
    folder = Path(mmgic.__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown, git is not at hand"
    return found.stdout.strip() if found.returncode == 0 else "none, the package is installed from no checkout"


def _packages() -> list[str]:
    found = [f"Python {platform.python_version()}"]
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found


def _machine() -> str:
    import torch

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    shown = ", ".join(f"{gpus.count(name)} x {name}" for name in dict.fromkeys(gpus)) or "no GPU"
    return f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB of memory, {shown}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
