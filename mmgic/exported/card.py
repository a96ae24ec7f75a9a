"""The model card of an export."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from transformers import AutoConfig

from mmgic.documents.tasks import TEMPLATES
from mmgic.exported.processor import PIXELS
from mmgic.model.vocabulary import VLVocabulary
from mmgic.settings import Settings


def model_card(settings: Settings, vocabulary: VLVocabulary, parameters: int, trained: str, folder: Path) -> str:
    """README.md for the exported `folder`, whose other files are written; `trained` says in a few words what was."""
    # a page for people who read it as text: nothing is escaped
    environment = Environment(
        loader=PackageLoader("mmgic.exported", "."), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("card.md.j2").render(
        name=f"{settings.preset} {settings.training.name}",
        toy=settings.toy.scenes > 0,
        architecture=AutoConfig.from_pretrained(folder).architectures[0],
        parameters=parameters,
        vocabulary=vocabulary,
        language_model=Path(settings.model.llm).name,
        settings=settings,
        trained=trained,
        draws=(folder / PIXELS).is_dir(),
        tasks=", ".join(f"`{task}`" for task in TEMPLATES),
    )
