"""What can be said about a scene: captions, and questions with their answers. All of it is true of the picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from mmgic.evaluation.benchmarks.pope import existence_question
from mmgic.toy.world.scenes import Scene, Thing
from mmgic.toy.world.words import CATEGORIES, PEOPLE, WHERE

_LINKS = {"on": "on", "inside": "inside", "holds": "holding", "wears": "wearing", "left of": "to the left of"}


def with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def noun_phrase(thing: Thing, details: bool) -> str:
    """`thing` with its article and colour, with `details` also size, state and material: "a small red wooden chair"."""
    before = [thing.size, thing.state] if details else []
    after = [thing.material] if details else []
    if thing.category in PEOPLE:
        return with_article(" ".join(filter(None, [*before, thing.category]))) + f" in {thing.colour}"
    return with_article(" ".join(filter(None, [*before, thing.colour, *after, thing.category])))


def _group_phrase(scene: Scene, group: Sequence[int], details: bool) -> str:
    phrases = [noun_phrase(scene.things[i], details) for i in group]
    if len(group) == 1:
        return phrases[0]
    label = next(r.label for r in scene.relations if (r.subject, r.object) == tuple(group))
    return f"{phrases[0]} {_LINKS[label]} {phrases[1]}"


def _listed(phrases: Sequence[str]) -> str:
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def captions(scene: Scene, rng: np.random.Generator, count: int) -> list[str]:
    """`count` different captions of up to five wordings, each naming every object of the scene."""
    where = WHERE[scene.setting]
    plain, full = ([_group_phrase(scene, group, details) for group in scene.groups] for details in (False, True))
    chosen = full if rng.random() < 0.35 else plain
    forms = [
        f"{_listed(chosen)} {where}",
        f"there is {_listed(plain)} {where}",
        f"{where}, there is {_listed(chosen)}",
        f"a picture of {_listed(plain)}",
        f"{_listed(full)}",
    ]
    if len(plain) > 1 and any(r.label == "left of" and r.subject in scene.groups[0] for r in scene.relations):
        rest = f", with {_listed(plain[2:])}" if len(plain) > 2 else ""
        forms[3] = f"{plain[0]} to the left of {plain[1]}{rest} {where}"
    # the first wording is the usual one: a model that learned it is not marked down for a rare choice
    order = [0, *(1 + rng.permutation(len(forms) - 1))][:count]
    return [sentence(forms[i]) for i in order]


def colour_question(thing: Thing) -> tuple[str, str]:
    """The question for `thing`'s colour and its answer."""
    if thing.category in PEOPLE:
        return f"What color does the {thing.category} wear?", thing.colour
    return f"What color is the {thing.category}?", thing.colour


def categories_shown(scenes: Iterable[Scene]) -> Counter[tuple[str, str]]:
    """How many of `scenes` are of a setting and show a category."""
    return Counter((scene.setting, name) for scene in scenes for name in scene.categories)


def existence_questions(
    scene: Scene, rng: np.random.Generator, pairs: int, shown: Mapping[tuple[str, str], int] | None = None
) -> list[tuple[str, str]]:
    """`pairs` questions to answer with "yes" and as many with "no" (fewer where the scene is small), shuffled.

    `shown` says how many scenes of a (setting, category) there are, as `categories_shown` counts them. Of two absent
    things one is then drawn as often as scenes of this setting show it, for else the setting alone would give most
    answers away, and one is any, for what is rare here must be asked for as well.
    """
    present = [str(name) for name in rng.permutation(scene.categories)[:pairs]]
    absent = [name for name in CATEGORIES if name not in scene.categories]
    if shown is None:
        missing = [str(name) for name in rng.permutation(absent)[: len(present)]]
    else:
        weights = np.array([0.25 + shown.get((scene.setting, name), 0) for name in absent])
        chances = (weights / weights.sum() + 1 / len(absent)) / 2
        missing = [str(name) for name in rng.choice(absent, len(present), replace=False, p=chances)]
    asked = [(existence_question(name), "yes") for name in present]
    asked += [(existence_question(name), "no") for name in missing]
    return [asked[int(i)] for i in rng.permutation(len(asked))]
