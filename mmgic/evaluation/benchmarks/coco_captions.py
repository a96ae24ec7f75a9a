"""COCO captioning: captions of an exported model in the benchmark's own result format (Appendix E.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmgic.documents.prompts import caption_prompt, caption_stop_ids
from mmgic.errors import InputError
from mmgic.evaluation.exported_model import ExportedModel
from mmgic.evaluation.files import read_json, require
from mmgic.evaluation.scorers.cider import read_references


def read_caption_images(path: str | Path) -> tuple[dict[Any, str], dict[Any, list[str]]]:
    """(file name, references) by image id of a COCO captions file, for the images that have references.

    Raises InputError where the file is no COCO captions file or lacks the image of a reference.
    """
    references = read_references(path)
    images = read_json(path).get("images")
    if not isinstance(images, list) or not all(isinstance(image, dict) for image in images):
        raise InputError(f"{path} lacks 'images', the list of image ids and file names")
    names = {
        image.get("id"): require(image, "file_name", str, path, number) for number, image in enumerate(images, start=1)
    }
    unknown = [image_id for image_id in references if image_id not in names]
    if unknown:
        raise InputError(f"'images' of {path} lacks image {unknown[0]}, which has captions")
    return {image_id: names[image_id] for image_id in references}, references


def caption_images(
    model: ExportedModel,
    codes: Mapping[Any, Sequence[int]],
    max_new_tokens: int,
) -> list[dict[str, Any]]:
    """COCO result records {"image_id", "caption"} for the visual codes by image id, in their order."""
    tokenizer = model.tokenizer
    prompts = [caption_prompt(tokenizer, model.vocabulary, image_codes) for image_codes in codes.values()]
    outputs = model.engine.generate(prompts, max_new_tokens, caption_stop_ids(tokenizer))
    captions = []
    for image_id, tokens in zip(codes, outputs, strict=True):
        # a model may go on with visual tokens, which have no text
        text = tokenizer.decode([t for t in tokens if not model.vocabulary.is_visual(t)], skip_special_tokens=True)
        captions.append({"image_id": image_id, "caption": text.strip()})
    return captions
