"""A dataset's files: where they are, image names resolved to paths, ids and labels as text."""

from __future__ import annotations

import math
import os
import posixpath
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from mmgic.errors import InputError
from mmgic.files import filesystem_of, find_files
from mmgic.images import UPRIGHT
from mmgic.paths import is_local
from mmgic.settings import SourceSettings
from mmgic.sources.formats import FORMATS
from mmgic.sources.reading.near_names import NearNames

PACKED = ".gz"  # at the end of a file's name, without which it is looked for first


def require_folder(source: SourceSettings) -> None:
    """Raises InputError if the source's folder is missing."""
    try:
        filesystem, _ = filesystem_of(source.path)
    except InputError as error:
        raise InputError(f"source '{source.name}': {error}") from None
    if not source.path or not filesystem.isdir(source.path):
        raise InputError(
            f"source '{source.name}': the folder '{source.path}' does not exist; set its 'path' to the dataset's folder"
        )


def source_file(source: SourceSettings, name: str, setting: str) -> str:
    """The path of the file `name` of a source. Raises InputError if the folder, the name or the file is missing."""
    require_folder(source)
    if not name:
        raise InputError(
            f"source '{source.name}' names no {setting} file; set its '{setting}' to a file in {source.path}"
        )
    path = posixpath.join(source.path, name)
    filesystem, _ = filesystem_of(path)
    found = next(filter(filesystem.exists, (path, path + PACKED)), None)
    if found is None:
        raise InputError(f"source '{source.name}': there is no file {path}; put the dataset's {setting} file there")
    return found


def packed_files(pattern: str) -> list[str]:
    """The files that `pattern` (see `find_files`) names, otherwise the packed ones that are called so."""
    return find_files(pattern) or find_files(pattern + PACKED)


def source_files(source: SourceSettings, name: str, setting: str) -> list[str]:
    """The paths of the files that `name` stands for: it may hold *, and choices parted by |, of parts joined by " + ".

    Of the choices the first one that is there is taken, with all its parts; that it is not the first is printed. Raises
    like `source_file`, and if a part is missing.
    """
    require_folder(source)
    first, *others = choices(name)
    for choice in (first, *others):
        if choice and (paths := joined_files(source, choice)):
            if choice != first:
                print(f"{source.name}: there is no {first}; using {choice}", flush=True)
            return paths
    return [source_file(source, joined(first)[0], setting)]


def joined_files(source: SourceSettings, choice: str) -> list[str]:
    """The paths of all parts of `choice` in their order, none if no part is there.

    Raises InputError if some are there and some are not.
    """
    found = {part: packed_files(posixpath.join(source.path, part)) for part in joined(choice)}
    missing = [part for part, paths in found.items() if not paths]
    if missing and len(missing) < len(found):
        raise InputError(
            f"source '{source.name}': {source.path} holds a part of {choice}, but no {missing[0]}; put it there, or "
            "leave it out of 'annotations'"
        )
    return [path for paths in found.values() for path in paths]


def annotation_paths(source: SourceSettings) -> list[str]:
    """The paths of the files that the source's `annotations` names, otherwise of the first name of its format.

    Of a format's choices the first one that is there is read alone; what else the last one stands for is printed.
    Raises InputError if the folder or every file is missing.
    """
    own = FORMATS[source.format].files
    if source.annotations or not own:
        return source_files(source, source.annotations, "annotations")
    require_folder(source)
    patterns = choices(own[0])
    for pattern in patterns:
        if paths := packed_files(posixpath.join(source.path, pattern)):
            if others := set(packed_files(posixpath.join(source.path, patterns[-1]))) - set(paths):
                print(
                    f"{source.name}: reading {pattern} alone; {source.path} holds {len(others)} more, such as "
                    f"{posixpath.basename(min(others))}; set 'annotations' to read them",
                    flush=True,
                )
            return paths
    raise InputError(
        f"source '{source.name}': {source.path} holds no {' or '.join(patterns)}; put the dataset's annotations there, "
        "or set 'annotations' to their name, * included"
    )


def format_files(source: SourceSettings) -> list[str]:
    """The paths of all files that the source's format names, in its order. Raises InputError if one is missing."""
    return [source_file(source, name, name) for name in FORMATS[source.format].files]


def annotation_files(source: SourceSettings) -> list[str]:
    """Paths, with *, of the annotation files that a source's rows depend on; its reader says which must be there.

    Tar archives are left out: they hold images.
    """
    form = FORMATS[source.format]
    named = (*form.files, *form.more_files, source.annotations, source.captions, source.answers)
    parts = [part for name in named if name for choice in choices(name) for part in joined(choice)]
    texts = (part for part in parts if not part.endswith(".tar"))
    inside = [posixpath.join(source.path, text) for text in texts]
    packed = [text + PACKED for text in inside]
    shards = [posixpath.join(images, "*.parquet") for images in image_folders(source)]
    flickr30k = [posixpath.join(source.flickr30k, "*.txt")] if source.flickr30k else []
    return [*inside, *packed, *shards, *flickr30k, *([source.karpathy] if source.karpathy else [])]


def choices(name: str) -> list[str]:
    """The files that a setting such as "best.json | good.json" names."""
    return [choice.strip() for choice in name.split("|")]


def joined(choice: str) -> list[str]:
    """The files of a choice such as "train.json + val.json", all of which are read."""
    return [part.strip() for part in choice.split(" + ")]


class ImageFinder:
    """Resolves the image names of an annotation file to paths inside the source's folder.

    Archives unpack to different roots, so a name is tried below each image folder (`images` may name several, parted by
    |), below the source's folder, by its last two parts (`patch8/x.jpg`) and by its last part. The layout that fitted
    last is tried first: one look-up per image. Folders named after another split than the file `annotations` (train or
    val) come last, for splits may share image names. What no layout finds is looked for by `NearNames`. An image that
    is nowhere gets the path below the first image folder; that it is missing is found when it is read. Raises
    InputError if the source has none of its image folders, nor one of the folders `others`.
    """

    def __init__(self, source: SourceSettings, others: tuple[str, ...] = (), annotations: str = "") -> None:
        self._filesystem, _ = filesystem_of(source.path)
        root, folders = source.path, image_folders(source) or [source.path]
        if not any(map(self._filesystem.isdir, (*folders, *(posixpath.join(root, other) for other in others)))):
            raise InputError(
                f"source '{source.name}': the image folder {' or '.join(folders)} does not exist; set its 'images' to "
                f"the folder of the images inside {root}"
            )
        splits = ("", _split_name(annotations))
        own = [folder for folder in folders if not splits[1] or _split_name(folder) in splits]
        rest = [folder for folder in folders if folder not in own]
        # each with what fitted last in front
        self._layouts = [_layouts([*own, root], own), _layouts(rest, rest)]
        self._default = partial(posixpath.join, (own or folders)[0])
        self._near, self._folders = NearNames(self._filesystem), (*own, *rest, root)
        self._turned = UPRIGHT if source.upright else ""
        # much faster than asking through fsspec
        self._exists = os.path.exists if is_local(root) else self._filesystem.exists

    def path(self, name: Any) -> str:
        """The path of the image `name`; "" if that is no name inside a folder, and no image is near it."""
        is_safe = is_safe_name(name)
        for layouts in self._layouts if is_safe else ():
            for i, layout in enumerate(layouts):
                path = layout(name)
                if self._exists(path):
                    layouts.insert(0, layouts.pop(i))
                    return path + self._turned
        found = self._near.find(name, self._folders) or (self._default(name) if is_safe else "")
        return found + self._turned if found else ""


def image_folders(source: SourceSettings) -> list[str]:
    """The folders that `images` names, parted by |; none if it is empty."""
    names = [choice for choice in choices(source.images) if choice]
    return [posixpath.join(source.path, posixpath.normpath(name)) for name in names]


def _layouts(whole: list[str], last: list[str]) -> list[Callable[[str], str]]:
    """Ways from a name to a path: the name below each folder of `whole`, its last parts below each of `last`."""
    return [
        *(partial(posixpath.join, folder) for folder in whole),
        *(partial(_join_last, folder, parts) for parts in (2, 1) for folder in last),
    ]


def _split_name(path: str) -> str:
    """The split that a file or folder is named after, "" for none."""
    found = re.search("train|val", posixpath.basename(path))
    return found[0] if found else ""


def _join_last(folder: str, parts: int, name: str) -> str:
    return posixpath.join(folder, *name.split("/")[-parts:])


def own_names(source: SourceSettings) -> Callable[[str], bool]:
    """Whether a stem (an image file's name without folder and suffix) is of the source's dataset, by `image_names`.

    Files may hold several datasets. Raises InputError if `image_names` is no regular expression.
    """
    pattern = source.image_names or FORMATS[source.format].image_names
    try:
        fits = re.compile(pattern).fullmatch if pattern else lambda stem: True
    except re.error as error:
        raise InputError(
            f"source '{source.name}': image_names '{pattern}' is no regular expression ({error}); write one that all "
            "names of its images fit, without folder and suffix"
        ) from None
    return lambda stem: bool(fits(stem))


def file_stem(name: str) -> str:
    """The name of a file without its folders and suffix."""
    return posixpath.splitext(posixpath.basename(name))[0].strip()


def is_safe_name(name: Any) -> bool:
    """Whether `name`, read from an annotation file, stays inside the folder that it is joined to."""
    if not isinstance(name, str) or not name.strip() or any(mark in name for mark in ("\\", "\0", "://", "::")):
        return False
    parts = name.split("/")
    return parts[0] != "" and parts[-1] not in ("", ".") and ".." not in parts


def text_id(value: Any) -> str:
    """A dataset's id as text: 7, 7.0 and "7" are one id. "" where the value is no id."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def collapse_spaces(text: Any) -> str:
    """`text` with every run of white space as one space and none at the ends; "" if it is no text."""
    return " ".join(text.split()) if isinstance(text, str) else ""


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def as_number(value: Any) -> float | None:
    """A finite number, which may be written as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def image_size(record: dict[str, Any]) -> tuple[int, int] | None:
    """The (width, height) in pixels that a record gives, or None if it gives none that can be."""
    sizes = (as_number(record.get(name)) or 0.0 for name in ("width", "height"))
    width, height = (int(size) if 1 <= size < 2**31 and size.is_integer() else 0 for size in sizes)
    return (width, height) if width and height else None
