"""Sentences about the toy world with their parse, and a small spaCy pipeline trained on them.

The parse has the tags and the dependency labels of spaCy's English pipelines (Penn Treebank tags, CLEAR labels), so
that spaCy's own `noun_chunks` work on what the trained pipeline finds. spaCy is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mmgic.toy.world.scenes import Thing
from mmgic.toy.world.text import noun_phrase, with_article
from mmgic.toy.world.words import CATEGORIES, COLOURS, PEOPLE, SIZES, WHERE

if TYPE_CHECKING:
    from spacy.language import Language

# part of speech by tag: what spaCy's attribute ruler sets
POS = {
    "NN": "NOUN",
    "NNS": "NOUN",
    "DT": "DET",
    "PRP$": "PRON",
    "JJ": "ADJ",
    "VBG": "VERB",
    "VBZ": "VERB",
    "IN": "ADP",
    "EX": "PRON",
    "CC": "CCONJ",
    "RB": "ADV",
    "CD": "NUM",
    "HYPH": "PUNCT",
    ",": "PUNCT",
    ".": "PUNCT",
    ":": "PUNCT",
}
PLACES = ("park", "beach", "room", "street", "snow")
STATES = sorted({state for category in CATEGORIES.values() for state in category.states})
MATERIALS = sorted({material for category in CATEGORIES.values() for material in category.materials})
FRAMES = ("picture", "photo", "image", "drawing", "view")  # "a photo of ..."
VAGUE = ("stock", "bright", "nice", "new", "lovely", "simple", "vector")  # what web captions add
PLURALS = {"baby": "babies", "bus": "buses", "fish": "fish", "box": "boxes", "man": "men", "woman": "women"}


@dataclass(frozen=True)
class Node:
    """A word with its dependents, in the order of the sentence."""

    word: str
    tag: str
    label: str
    left: tuple[Node, ...] = ()
    right: tuple[Node, ...] = ()


@dataclass(frozen=True)
class Parse:
    """A sentence's words with their tags, labels and the positions of their heads (a root's head is itself)."""

    words: list[str]
    tags: list[str]
    labels: list[str]
    heads: list[int]


def flatten(root: Node) -> Parse:
    """The parse of the tree `root`."""
    parse = Parse([], [], [], [])
    _place(root, parse)
    return parse


def _place(node: Node, parse: Parse) -> int:
    children = [_place(child, parse) for child in node.left]
    own = len(parse.words)
    for column, value in ((parse.words, node.word), (parse.tags, node.tag), (parse.labels, node.label)):
        column.append(value)
    parse.heads.append(own)
    children += [_place(child, parse) for child in node.right]
    for child in children:
        parse.heads[child] = own
    return own


class Grammar:
    """Draws sentences in the wordings of `mmgic.toy.world.text`, and in those of web captions about the same things."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def sentence(self) -> Node:
        """One sentence; half of them begin with a capital and most end with a full stop."""
        rng = self.rng
        forms = (
            self._list_where,
            self._there_is,
            self._where_there_is,
            self._frame,
            self._left_of,
            self._list,
            self._shows,
            self._is_somewhere,
            self._stands,
            self._for_sale,
        )
        root = forms[int(rng.integers(len(forms)))]()
        if rng.random() < 0.8:
            root = _add(root, Node(".", ".", "punct"))
        return _capitalised(root) if rng.random() < 0.7 else root

    def sentences(self, count: int) -> Iterator[Parse]:
        for _ in range(count):
            yield flatten(self.sentence())

    def _one(self, words: Sequence[str]) -> str:
        return str(words[int(self.rng.integers(len(words)))])

    def _noun(self, label: str) -> Node:
        """A noun phrase: "a small red wooden chair", "two dogs", "a man in blue", "his red hat"."""
        rng = self.rng
        category = CATEGORIES[self._one(list(CATEGORIES))]
        words = [
            (self._one(VAGUE), 0.06),
            (self._one(SIZES), 0.35),
            (self._one(STATES), 0.2),
            (self._one(list(COLOURS)), 0.75 if category.name not in PEOPLE else 0.1),
            (self._one(MATERIALS), 0.2),
        ]
        left = [Node(word, "VBG" if word.endswith("ing") else "JJ", "amod") for word, p in words if rng.random() < p]
        if rng.random() < 0.05:
            left.append(Node(self._one(list(CATEGORIES)), "NN", "compound"))
        right = []
        if category.name in PEOPLE and rng.random() < 0.8:
            right.append(Node("in", "IN", "prep", (), (Node(self._one(list(COLOURS)), "NN", "pobj"),)))
        draw, noun, tag = rng.random(), category.name, "NN"
        first = left[0].word if left else noun
        if draw < 0.75:
            left.insert(0, Node(with_article(first).split()[0], "DT", "det"))
        elif draw < 0.82:
            left.insert(0, Node("the", "DT", "det"))
        elif draw < 0.86:
            left.insert(0, Node(self._one(["his", "her", "their", "my", "its"]), "PRP$", "poss"))
        elif draw < 0.93:
            left.insert(0, Node(self._one(["two", "three", "four"]), "CD", "nummod"))
            noun, tag = PLURALS.get(noun, f"{noun}s"), "NNS"
        return Node(noun, tag, label, tuple(left), tuple(right))

    def _group(self, label: str) -> Node:
        """A noun phrase that may be on, inside, holding, wearing or left of another one."""
        node = self._noun(label)
        link = self._one(["", "", "on", "inside", "holding", "wearing", "to the left of", "with", "under"])
        if not link:
            return node
        if link in ("holding", "wearing"):
            return _add(node, Node(link, "VBG", "acl", (), (self._noun("dobj"),)))
        if link == "to the left of":
            return _add(node, self._beside())
        return _add(node, Node(link, "IN", "prep", (), (self._noun("pobj"),)))

    def _beside(self) -> Node:
        of = Node("of", "IN", "prep", (), (self._noun("pobj"),))
        left = Node("left", "NN", "pobj", (Node("the", "DT", "det"),), (of,))
        return Node("to", "IN", "prep", (), (left,))

    def _listed(self, label: str) -> Node:
        """One to four groups: "a, b and c". Each hangs on the one before it."""
        groups = [self._group("conj") for _ in range(int(self.rng.choice([1, 2, 3, 4], p=[0.35, 0.35, 0.2, 0.1])))]
        node = groups[-1]
        for position in range(len(groups) - 2, -1, -1):
            last = position == len(groups) - 2
            link = Node("and", "CC", "cc") if last else Node(",", ",", "punct")
            node = replace(groups[position], right=(*groups[position].right, link, node))
        return replace(node, label=label)

    def _where(self, label: str = "prep") -> Node:
        place = self._one(PLACES)
        preposition, article, noun = WHERE[place].split()
        return Node(preposition, "IN", label, (), (Node(noun, "NN", "pobj", (Node(article, "DT", "det"),)),))

    def _is(self, *right: Node) -> Node:
        return Node("is", "VBZ", "ROOT", (Node("there", "EX", "expl"),), right)

    def _list(self) -> Node:
        return self._listed("ROOT")

    def _list_where(self) -> Node:
        return _add(self._listed("ROOT"), self._where())

    def _there_is(self) -> Node:
        return self._is(self._listed("attr"), self._where())

    def _where_there_is(self) -> Node:
        root = self._is(self._listed("attr"))
        return replace(root, left=(self._where(), Node(",", ",", "punct"), *root.left))

    def _frame(self) -> Node:
        words = [Node(self._one(VAGUE), "JJ", "amod")] if self.rng.random() < 0.3 else []
        article = [Node(self._one(["a", "the", "this"]), "DT", "det")] if self.rng.random() < 0.8 else []
        of = Node("of", "IN", "prep", (), (self._listed("pobj"),))
        node = Node(self._one(FRAMES), "NN", "ROOT", (*article, *words), (of,))
        return _add(node, self._where()) if self.rng.random() < 0.3 else node

    def _left_of(self) -> Node:
        node = _add(self._noun("ROOT"), self._beside())
        if self.rng.random() < 0.5:
            node = _add(node, Node(",", ",", "punct"), Node("with", "IN", "prep", (), (self._listed("pobj"),)))
        return _add(node, self._where())

    def _shows(self) -> Node:
        subject = Node(self._one(FRAMES), "NN", "nsubj", (Node(self._one(["the", "this"]), "DT", "det"),))
        return Node(self._one(["shows", "features"]), "VBZ", "ROOT", (subject,), (self._listed("dobj"), self._where()))

    def _is_somewhere(self) -> Node:
        return Node("is", "VBZ", "ROOT", (self._group("nsubj"),), (self._where(),))

    def _stands(self) -> Node:
        verb = self._one(["stands", "sits", "lies", "rests", "waits"])
        return Node(verb, "VBZ", "ROOT", (self._group("nsubj"),), (self._where(),))

    def _for_sale(self) -> Node:
        sale = Node("for", "IN", "prep", (), (Node("sale", "NN", "pobj"),))
        return _add(self._noun("ROOT"), sale)


def _add(node: Node, *right: Node) -> Node:
    return replace(node, right=(*node.right, *right))


def _capitalised(node: Node) -> Node:
    if node.left:
        return replace(node, left=(_capitalised(node.left[0]), *node.left[1:]))
    return replace(node, word=node.word[0].upper() + node.word[1:])


def thing_phrases(thing: Thing, details: bool) -> list[str]:
    """The noun phrases of `mmgic.toy.world.text.noun_phrase`, as the filter writes them: "waving man", "blue"."""
    return noun_phrase(thing, details).split(" ", 1)[1].split(" in ")


def blank_pipeline(width: int = 48) -> Language:
    """An English spaCy pipeline with a small shared CNN, tagger, attribute ruler and parser, not yet trained."""
    import spacy

    nlp = spacy.blank("en")
    embed = {
        "@architectures": "spacy.HashEmbedCNN.v2",
        "width": width,
        "depth": 2,
        "embed_size": 600,
        "window_size": 1,
        "maxout_pieces": 2,
        "subword_features": True,
        "pretrained_vectors": None,
    }
    nlp.add_pipe("tok2vec", config={"model": embed})
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": width, "upstream": "*"}
    nlp.add_pipe("tagger", config={"model": {"@architectures": "spacy.Tagger.v2", "nO": None, "tok2vec": listener}})
    nlp.add_pipe("attribute_ruler")
    parser = {
        "@architectures": "spacy.TransitionBasedParser.v2",
        "state_type": "parser",
        "extra_state_tokens": False,
        "hidden_width": 48,
        "maxout_pieces": 2,
        "use_upper": True,
        "nO": None,
        "tok2vec": listener,
    }
    nlp.add_pipe("parser", config={"model": parser})
    return nlp


def train_pipeline(
    parses: Sequence[Parse], epochs: int, seed: int = 0, parts_of_speech: Mapping[str, str] = POS
) -> Language:
    """A pipeline trained on gold `parses`, whose parts of speech follow from tags. Depends on its arguments alone."""
    import spacy
    from spacy.tokens import Doc
    from spacy.training import Example
    from spacy.util import compounding, minibatch

    spacy.util.fix_random_seed(seed)
    nlp = blank_pipeline()
    examples = []
    for parse in parses:
        gold = Doc(nlp.vocab, words=parse.words, tags=parse.tags, deps=parse.labels, heads=parse.heads)
        examples.append(Example(Doc(nlp.vocab, words=parse.words), gold))
    optimizer = nlp.initialize(lambda: examples)
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        shuffled = [examples[int(i)] for i in rng.permutation(len(examples))]
        for batch in minibatch(shuffled, size=compounding(8, 64, 1.01)):
            nlp.update(batch, sgd=optimizer, drop=0.1)
    ruler: Any = nlp.get_pipe("attribute_ruler")  # now, for initialize() empties it
    for tag, pos in parts_of_speech.items():
        ruler.add([[{"TAG": tag}]], {"POS": pos})
    return nlp
