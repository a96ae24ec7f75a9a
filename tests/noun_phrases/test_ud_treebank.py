"""Noun chunks of real sentences: those of en_core_web_sm beside the UD English Web Treebank's parses by hand.

The treebank is put into the labels that spaCy expects. UD attaches a preposition to its noun and a copula to its
predicate, and names objects otherwise; `noun_chunks` needs the preposition and the copula as heads, and CLEAR's names.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mmgic.noun_phrases.extract import _phrase, load_pipeline, phrases_of
from mmgic.settings import PhraseSettings

NOUNS = {
    "NN": "NOUN",
    "NNS": "NOUN",
    "NNP": "PROPN",
    "NNPS": "PROPN",
    "PRP": "PRON",
    "WP": "PRON",
    "EX": "PRON",
    "PRP$": "DET",
}
LABELS = {
    "nsubj": "nsubj",
    "nsubj:pass": "nsubjpass",
    "nsubj:outer": "nsubj",
    "obj": "dobj",
    "iobj": "dative",
    "obl": "npadvmod",
    "obl:unmarked": "npadvmod",
    "nmod": "npadvmod",
    "nmod:unmarked": "npadvmod",
    "nmod:poss": "poss",
    "nmod:desc": "compound",
    "flat": "compound",
    "root": "ROOT",
    "parataxis": "ROOT",
    "list": "appos",
}


@dataclass
class Parse:
    words: list[str]
    tags: list[str]
    labels: list[str]
    heads: list[int]


@dataclass
class Word:
    text: str
    tag: str
    label: str
    head: int


def read_conllu(path: Path, most: int) -> Iterator[list[Word]]:
    """Sentences of 3 to 30 words, without the empty nodes and the spans of multiword tokens."""
    number = 0
    for block in path.read_text(encoding="utf-8").split("\n\n"):
        fields = [line.split("\t") for line in block.splitlines() if line and not line.startswith("#")]
        words = [f for f in fields if f[0].isdecimal()]
        if 3 <= len(words) <= 30 and not any(f[1] == "_" for f in words):
            yield [Word(f[1], f[4], f[7], int(f[6]) - 1 if int(f[6]) else i) for i, f in enumerate(words)]
            number += 1
            if number == most:
                return


def with_spacy_labels(words: list[Word]) -> Parse:
    """The sentence with prepositions and copulas as heads, `cc` beside its conjuncts, and CLEAR's labels."""
    for i, word in enumerate(words):  # "and a cat": the conjunction belongs to the first conjunct
        if word.label in ("cc", "cc:preconj", "punct") and words[word.head].label == "conj" and i < word.head:
            word.head = words[word.head].head
    for i in range(len(words)):
        cases = [j for j, w in enumerate(words) if w.head == i and w.label == "case" and w.tag != "POS" and j < i]
        if cases:
            _raise(words, i, cases[-1], "prep", "pobj")
    for i, word in enumerate(words):
        copulas = [j for j, w in enumerate(words) if w.head == i and w.label == "cop" and j < i]
        if copulas:
            _raise(words, i, copulas[-1], word.label, "attr")
    labels = [LABELS.get(word.label, word.label.split(":")[0]) for word in words]
    return Parse([w.text for w in words], [w.tag for w in words], labels, [w.head for w in words])


def _raise(words: list[Word], below: int, above: int, label: str, label_below: str) -> None:
    """Makes `above`, a dependent of `below`, its head; what stands before `above` goes with it."""
    for i, word in enumerate(words):
        if word.head == below and i < above and i != below:
            word.head = above
    head = words[below].head
    conj = words[below].label == "conj"
    words[above].head = above if head == below else head
    words[above].label = "conj" if conj and label == "prep" else label
    words[below].head, words[below].label = above, label_below


def gold_phrases(nlp, parse: Parse) -> list[str]:
    from spacy.tokens import Doc

    pos = [NOUNS.get(tag, "X") for tag in parse.tags]
    doc = Doc(nlp.vocab, words=parse.words, tags=parse.tags, pos=pos, deps=parse.labels, heads=parse.heads)
    return list(dict.fromkeys(filter(None, map(_phrase, doc.noun_chunks))))


@pytest.fixture(scope="module")
def treebank(shared: Path) -> Path:
    folder = shared / "data" / "ud_english_ewt"
    if not folder.is_dir():
        pytest.skip("needs the UD English Web Treebank")
    return folder


def test_mapped_gold_parses_give_the_phrases_that_a_reader_finds(treebank: Path) -> None:
    import spacy

    nlp = spacy.blank("en")
    sentences = [with_spacy_labels(words) for words in read_conllu(treebank / "en_ewt-ud-dev.conllu", 2)]
    assert [gold_phrases(nlp, parse) for parse in sentences] == [
        ["ap", "story"],
        ["president bush", "tuesday", "two individuals", "retiring jurists", "federal courts", "washington area"],
    ]


def test_most_phrases_of_real_sentences_are_found(treebank: Path) -> None:
    nlp = load_pipeline(PhraseSettings().pipeline)
    unseen = [with_spacy_labels(words) for words in read_conllu(treebank / "en_ewt-ud-dev.conllu", 400)]
    gold = [set(gold_phrases(nlp, parse)) for parse in unseen]
    found = [set(phrases) for phrases in phrases_of(nlp, [" ".join(parse.words) for parse in unseen])]
    right = sum(len(a & b) for a, b in zip(gold, found, strict=True))
    precision, recall = right / sum(map(len, found)), right / sum(map(len, gold))
    print(f"precision {precision:.3f}, recall {recall:.3f}")
    assert precision > 0.7
    assert recall > 0.7
