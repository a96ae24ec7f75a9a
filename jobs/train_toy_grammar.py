"""Trains the toy world's spaCy pipeline, which the noun-phrase filter of the toy presets runs on.

    python jobs/train_toy_grammar.py --output mmgic/toy/weights/noun_phrases

Costs under a minute of one CPU core. Leaves a spaCy pipeline folder and metrics.json: how well it parses sentences that
it has not seen, and on how many captions of unseen scenes it finds every noun phrase.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmgic.noun_phrases.extract import phrases_of
from mmgic.toy.models.grammar import Grammar, Parse, thing_phrases, train_pipeline
from mmgic.toy.world.scenes import make_scene
from mmgic.toy.world.text import captions

if TYPE_CHECKING:
    from spacy.language import Language

WORLD_SEED = 100  # not the demo's world


def scores(nlp: Language, parses: list[Parse]) -> dict[str, float]:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--sentences", type=int, default=1500)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    began = time.monotonic()
    rng = np.random.default_rng(arguments.seed)
    nlp = train_pipeline(list(Grammar(rng).sentences(arguments.sentences)), arguments.epochs, arguments.seed)
    nlp.meta["name"] = "toy_grammar"
    metrics = {
        "command": " ".join(["python", *sys.argv]),
        "seed": arguments.seed,
        "seconds": round(time.monotonic() - began),
        "unseen_sentences": scores(nlp, list(Grammar(rng).sentences(500))),
        "complete_captions": complete_captions(nlp, 200),
    }
    nlp.to_disk(arguments.output)
    (arguments.output / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    print(json.dumps(metrics, indent=2))


if __name__ == "__main__":
    main()
