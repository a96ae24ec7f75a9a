"""packages/en_core_web_sm: the toy grammar as the package that `python -m spacy download en_core_web_sm` installs.

Python finds it where `packages` is in PYTHONPATH.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from mmgic.toy.datasets.samples import write_bytes
from mmgic.toy.downloads.shards import write_pretty

NAME, VERSION = "en_core_web_sm", "3.8.0"
_INIT = """from pathlib import Path

from spacy.util import get_model_meta, load_model_from_init_py

__version__ = get_model_meta(Path(__file__).parent)["version"]


def load(**overrides):
    return load_model_from_init_py(__file__, **overrides)
"""
_METADATA = f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\nSummary: a stand-in: the toy world's grammar\n"


def write_spacy_package(folder: Path, pipeline: Path) -> None:
    """Writes the package and its metadata, which spaCy asks for, into `folder`, from the pipeline's folder."""
    package = folder / NAME
    inner = package / f"{NAME}-{VERSION}"
    shutil.copytree(pipeline, inner, ignore=shutil.ignore_patterns("metrics.json"))
    meta = json.loads((inner / "meta.json").read_text(encoding="utf-8"))
    meta |= {"lang": "en", "name": NAME.removeprefix("en_"), "version": VERSION}
    for path in (inner, package):
        write_pretty(path / "meta.json", meta)
    write_bytes(package / "__init__.py", _INIT.encode())
    write_bytes(folder / f"{NAME}-{VERSION}.dist-info/METADATA", _METADATA.encode())
