"""When a stage may start, and when it is finished."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmgic.errors import InputError
from mmgic.files import read_text, remove
from mmgic.stages import tables
from mmgic.stages.tables import Manifest

# Reasons that speak of damaged input or of a fault, not of a rule that chose
ERRORS = ("bad_record", "image_missing", "image_undecodable", "image_too_large", "size_mismatch", "stage_error")

FEW = 8  # failures of one batch that may be chance


def is_too_often(failures: int, tries: int, rate: float) -> bool:
    """Whether so many failures of a service in one batch say that the service is down, not that some things fail."""
    return failures >= FEW and failures > rate * tries


def begin(
    output: str, name: str, settings: Mapping[str, Any], source: str, repeatable: bool = True
) -> tuple[str, Manifest | None]:
    """The fingerprint of a table that is to be made, and its manifest if it is finished (see `tables.claim`)."""
    if read_text(f"{output}/{tables.SETTINGS}") is None:
        remove(checkpoint_folder(output))  # of a table that was deleted
    fingerprint = tables.claim(output, name, settings, source, repeatable)
    done = tables.read_manifest(output)
    if done is not None:
        remove(checkpoint_folder(output))
        print(f"{done.summary()} (done before)", flush=True)
    return fingerprint, done


def finish(output: str, manifest: Manifest, max_error_rate: float) -> Manifest:
    """Writes the manifest of a table whose rows are all there. Raises InputError if too many of them are errors."""
    errors = {reason: manifest.reasons[reason] for reason in ERRORS if reason in manifest.reasons}
    if sum(errors.values()) > max_error_rate * manifest.rows_in:
        found = ", ".join(f"{reason} {number:,}" for reason, number in errors.items())
        raise too_many_errors(manifest.stage, output, found, max_error_rate)
    tables.write_manifest(output, manifest)
    remove(checkpoint_folder(output))
    print(manifest.summary(), flush=True)
    return manifest


def too_many_errors(stage: str, output: str, found: str, max_error_rate: float) -> InputError:
    return InputError(
        f"stage '{stage}' stops because more than {max_error_rate:.1%} of its rows are errors ({found}); correct the "
        f"input, delete {output}, and run again, or raise cluster.max_error_rate"
    )


def checkpoint_folder(output: str) -> str:
    """Where an unfinished table notes what is done: beside the table, not in it.

    Ray Data's recovery deletes files inside the table by the prefix of their name.
    """
    return f"{output}.checkpoint"
