"""Where the files of a run lie, by its settings: those that a job was given, or those that a build left in its output.

`mmgic.stages.places` says how tables name them.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from typing import Any

from mmgic.files import read_mapping
from mmgic.paths import absolute
from mmgic.settings import Settings, SourceSettings
from mmgic.sources.reading.files import image_folders
from mmgic.stages.places import Places
from mmgic.stages.tables import SETTINGS

NEAR = 4  # folders above a table among which the settings of its run are looked for


def places_of(settings: Settings) -> Places:
    """Where the files of a run of these settings lie."""
    return _places(settings.output, settings.sources)


def run_near(folder: str) -> tuple[str, Mapping[str, Any]]:
    """The output folder that `folder` lies in, or is, and the settings that a build left there; "" and {} if none."""
    folder = absolute(folder)
    for _ in range(NEAR + 1):
        loaded = read_mapping(posixpath.join(folder, SETTINGS), "run the build again, which writes it anew")
        if loaded and "preset" in loaded and isinstance(loaded.get("sources"), list):
            return folder, loaded
        folder = posixpath.dirname(folder)
    return "", {}


def places_near(folder: str) -> Places:
    """Where the files of the run lie that the table or output in `folder` belongs to.

    The data's folders are those of the last build there. A table that no build made names no place, or none that is
    known.
    """
    output, settings = run_near(folder)
    names = ("name", "format", "path", "images")
    listed = [source for source in settings.get("sources", []) if isinstance(source, dict)]
    return _places(
        output or absolute(folder),
        (SourceSettings(**{k: source[k] for k in names if k in source}) for source in listed),
    )


def _places(output: str, sources: Iterable[SourceSettings]) -> Places:
    return Places(output, {source.name: _folders(source) for source in sources})


def _folders(source: SourceSettings) -> list[str]:
    """The source's own folder, and those that its images have elsewhere."""
    if not source.path:
        return [""]
    own = absolute(source.path)
    elsewhere = (folder for folder in map(absolute, image_folders(source)) if not f"{folder}/".startswith(f"{own}/"))
    return [own, *elsewhere]
