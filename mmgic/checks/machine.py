"""The machine that a run starts on: where it writes, how much room there is, and the places of temporary files."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from pathlib import Path

from mmgic.checks.problems import Findings
from mmgic.errors import InputError
from mmgic.files import filesystem_of
from mmgic.paths import absolute, is_local

# A Unix socket's path has at most 107 bytes; Ray puts its own below RAY_TMPDIR, else TMPDIR, else /tmp.
SOCKET_BYTES = 107
RAY_SOCKET_BYTES = len("/ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store_0")
LEAST_TMP_BYTES = 1 << 30


def check_output(output: str, findings: Findings, needed_bytes: int = 0, tables_alone: bool = False) -> None:
    """Adds a problem if nothing can be written to `output`, or if a local disk lacks `needed_bytes`.

    `tables_alone` may lie in an object store; what is memory-mapped, as the token store is, or trained, may not.
    """
    if output.startswith("memory:"):
        findings.problem(f"'output' is {output}, which each process has for itself; set it to a folder")
        return
    if "?" in absolute(output):  # Ray takes what follows for a query, where it looks for a file's suffix
        findings.problem(f"'output' is {output}; Ray reads no tables below a folder named with ?: set it to another")
        return
    if not is_local(output) and not tables_alone:
        findings.problem(
            f"'output' is {output}; the token store, training and evaluation need a disk: set it to a folder that "
            "every machine mounts. jobs/build_data.py --only builds the tables of one corpus there"
        )
        return
    try:
        filesystem, path = filesystem_of(output)
        there = path
        while there and not filesystem.exists(there) and os.path.dirname(there) != there:
            there = os.path.dirname(there)
        if not filesystem.isdir(there) and filesystem.exists(there):
            findings.problem(f"'output' is {output}, but {there} is a file; choose a folder")
            return
        probe = f"{there.rstrip('/')}/.mmgic-{secrets.token_hex(4)}"
        filesystem.pipe_file(probe, b"")
        filesystem.rm_file(probe)
    except InputError as error:
        findings.problem(f"'output': {error}")
        return
    except OSError as error:
        findings.problem(
            f"'output' is {output}, where nothing can be written ({error.strerror or error}); choose another"
        )
        return
    if not is_local(output):
        return
    free = shutil.disk_usage(there or "/").free
    if free < needed_bytes:
        findings.problem(
            f"'output' is {output}, whose disk has {_gb(free)} free; the run writes about {_gb(needed_bytes)}: choose "
            "a larger disk"
        )
    else:
        findings.note(f"output {output}: {_gb(free)} free, about {_gb(needed_bytes)} needed")


def check_temporary(findings: Findings) -> None:
    """Adds a problem if TMPDIR cannot take what sorting needs, or is too long for Ray's sockets."""
    try:
        folder = Path(tempfile.gettempdir())
    except FileNotFoundError:
        findings.problem("no temporary folder can be written; set TMPDIR to one that can")
        return
    if (named := os.environ.get("TMPDIR")) and folder != Path(named):
        findings.problem(f"TMPDIR is {named}, where nothing can be written; set it to a folder that is there")
    free = shutil.disk_usage(folder).free
    if free < LEAST_TMP_BYTES:
        findings.problem(
            f"TMPDIR ({folder}) has {_gb(free)} free; sorting large sources needs more: set TMPDIR to a larger disk"
        )
    ray_folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    longest = SOCKET_BYTES - RAY_SOCKET_BYTES
    if len(ray_folder.encode()) > longest and os.environ.get("RAY_ADDRESS", "local") == "local":
        findings.problem(
            f"Ray's sockets below {ray_folder} would have too long a path (the folder may have {longest} bytes); set "
            "RAY_TMPDIR to a shorter one, such as /tmp"
        )


def _gb(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"
