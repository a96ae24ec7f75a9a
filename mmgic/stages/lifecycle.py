"""When a stage may start, and when it is finished."""

from __future__ import annotations

import hashlib
import json
import posixpath
import secrets
from collections.abc import Mapping
from typing import Any

import fsspec
import pyarrow.compute as pc
import yaml

from mmgic.errors import InputError
from mmgic.files import read_mapping, read_text, remove, write_text
from mmgic.stages import tables
from mmgic.stages.tables import Manifest, Table

# Reasons that speak of damaged input or of a fault, not of a rule that chose
ERRORS = ("bad_record", "image_missing", "image_undecodable", "image_too_large", "size_mismatch", "stage_error")

FEW = 8  # failures of one batch that may be chance


def is_too_often(failures: int, tries: int, rate: float) -> bool:
    """Whether so many failures of a service in one batch say that the service is down, not that some things fail."""
    return failures >= FEW and failures > rate * tries


def begin(
    output: str, name: str, settings: Mapping[str, Any], source: str, repeatable: bool = True
) -> tuple[str, Table | None]:
    """The fingerprint of a table that is to be made, and the table if it is finished (see `claim`)."""
    if read_text(f"{output}/{tables.SETTINGS}") is None:
        remove(checkpoint_folder(output))  # of a table that was deleted
    fingerprint = claim(output, name, settings, source, repeatable)
    done = tables.find_table(output)
    if done is not None:
        remove(checkpoint_folder(output))
        print(f"{done.manifest.summary()} (done before)", flush=True)
    return fingerprint, done


def finish(output: str, manifest: Manifest, max_error_rate: float) -> Table:
    """Writes the manifest of a table whose rows are all there. Raises InputError if too many of them are errors."""
    errors = {reason: manifest.reasons[reason] for reason in ERRORS if reason in manifest.reasons}
    if sum(errors.values()) > max_error_rate * manifest.rows_in:
        found = ", ".join(f"{reason} {number:,}" for reason, number in errors.items())
        rows = tables.open_table(output).head(1, filter=~pc.field("keep") & pc.field("reason").isin(list(errors)))
        [example] = rows.to_pylist()
        raise too_many_errors(manifest.name, output, f"{found}; such as {error_of(example)}", max_error_rate)
    tables.write_manifest(output, manifest)
    remove(checkpoint_folder(output))
    print(manifest.summary(), flush=True)
    return Table(output, manifest)


def error_of(row: Mapping[str, Any]) -> str:
    """Which record was set aside, and why, for a sentence."""
    return f"{row['source']}:{row['image_id']}, {row['reason']}: {row['detail']}"


def too_many_errors(stage: str, output: str, found: str, max_error_rate: float) -> InputError:
    return InputError(
        f"stage '{stage}' stops because more than {max_error_rate:.1%} of its rows are errors ({found}); correct a "
        f"path in the settings and run again, or mend the input, delete {output} and run again, or raise "
        "cluster.max_error_rate"
    )


def checkpoint_folder(output: str) -> str:
    """Where an unfinished table notes what is done: beside the table, not in it.

    Ray Data's recovery deletes files inside the table by the prefix of their name.
    """
    return f"{output}.checkpoint"


def claim(folder: str, stage: str, settings: Mapping[str, Any], source: str, repeatable: bool = True) -> str:
    """Makes `folder` the place of this stage with these settings, and returns their fingerprint.

    `source` is the fingerprint of what the stage reads. The first call writes `settings.yaml`; later ones
    compare, so that rows made in another way are neither kept nor mixed in. The fingerprint of a table that
    is not `repeatable` also holds a nonce of that first call: deleted and made again it is another table. Raises
    InputError if the settings differ.
    """
    recipe = {"stage": stage, "input": source, "settings": json.loads(json.dumps(settings))}
    path = posixpath.join(folder, tables.SETTINGS)
    found = read_mapping(path, f"delete {folder} to build it again")
    nonce = secrets.token_hex(8) if found is None else found.get("nonce")
    if nonce and not repeatable:
        recipe["nonce"] = nonce
    if found is None:
        write_text(path, yaml.safe_dump(recipe, sort_keys=False))
    else:
        before, now = _flat(found), _flat(recipe)
        changed = next((k for k in [*now, *before] if before.get(k) != now.get(k)), None)
        if changed is not None:
            key, old, new = changed.removeprefix("settings."), before.get(changed), now.get(changed)
            what = "from another input" if changed == "input" else f"with {key} = {old!r}, now {new!r}"
            other = "documents.name" if key.startswith("documents.") else "output"
            gone = " and ".join([folder, *_made_from(folder, stage)])
            raise InputError(f"{folder} was built {what}; delete {gone} to build again, or set another '{other}'")
    return _fingerprint(recipe)


def _fingerprint(recipe: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def _made_from(folder: str, stage: str) -> list[str]:
    """The folders of one output that hold what was made from the table of `stage` in `folder`, finished or not."""
    filesystem, root = fsspec.url_to_fs(folder.removesuffix(f"/{stage}"))
    recipes = {}
    for file in sorted(filesystem.find(root)):
        recipe = yaml.safe_load(filesystem.read_text(file)) if posixpath.basename(file) == tables.SETTINGS else None
        if isinstance(recipe, dict) and "stage" in recipe:  # a run's folder has such a file as well
            recipes[recipe["stage"]] = recipe
    found = [stage]
    for above in found:
        made = _fingerprint(recipes[above])
        found += [name for name, recipe in recipes.items() if name not in found and made in _flat(recipe).values()]
    return [f"{folder.removesuffix(stage)}{name}" for name in found[1:]]


def _flat(tree: Any, name: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}; the elements of lists are numbered."""
    if isinstance(tree, list):
        tree = {f"[{i}]": item for i, item in enumerate(tree)}
    if not isinstance(tree, dict):
        return {name: tree}
    return {
        key: value
        for part, branch in tree.items()
        for key, value in _flat(branch, part if not name else f"{name}{'' if part[0] == '[' else '.'}{part}").items()
    }
