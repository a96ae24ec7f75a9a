"""The toy world's spaCy pipeline, which the noun-phrase filter of the toy presets runs on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmgic.noun_phrases.extract import phrases_of
from mmgic.settings.fields import Group, number
from mmgic.toy.models.grammar import Grammar, Parse, thing_phrases, train_pipeline
from mmgic.toy.world.scenes import make_scene
from mmgic.toy.world.text import captions

if TYPE_CHECKING:
    from spacy.language import Language

WORLD_SEED = 100  # not the demo's world


@dataclass(frozen=True)
class GrammarRun(Group):
    """What is trained and how."""

    sentences: int = number(1500, 1)
    epochs: int = number(3, 1)
    seed: int = number(0, 0)


def make_noun_phrases(run: GrammarRun, output: Path) -> dict[str, object]:
    """Leaves a spaCy pipeline's folder; the scores are of unseen sentences, and the share of captions of unseen scenes
    in which it finds every noun phrase."""
    rng = np.random.default_rng(run.seed)
    nlp = train_pipeline(list(Grammar(rng).sentences(run.sentences)), run.epochs, run.seed)
    nlp.meta["name"] = "toy_grammar"
    nlp.to_disk(output)
    return {
        "unseen_sentences": parsing_scores(nlp, list(Grammar(rng).sentences(500))),
        "complete_captions": complete_captions(nlp, 200),
    }


def parsing_scores(nlp: Language, parses: list[Parse]) -> dict[str, float]:
    """Tags and labelled and unlabelled attachments that are right, of sentences with gold `parses`."""
    from spacy.tokens import Doc
    from spacy.training import Example

    examples = []
    for parse in parses:
        gold = Doc(nlp.vocab, words=parse.words, tags=parse.tags, deps=parse.labels, heads=parse.heads)
        examples.append(Example(Doc(nlp.vocab, words=parse.words), gold))
    found = nlp.evaluate(examples)
    return {name: round(found[name], 4) for name in ("tag_acc", "dep_uas", "dep_las")}


def complete_captions(nlp: Language, scenes: int) -> float:
    """Share of captions of unseen scenes in which the phrase of every object of the scene is found."""
    complete = total = 0
    for index in range(scenes):
        scene = make_scene(WORLD_SEED, "eval", index)
        texts = captions(scene, np.random.default_rng(index), 5)
        for phrases in phrases_of(nlp, texts):
            total += 1
            complete += any(
                all(set(thing_phrases(thing, details)) <= set(phrases) for thing in scene.things)
                for details in (False, True)
            )
    return round(complete / total, 4)
