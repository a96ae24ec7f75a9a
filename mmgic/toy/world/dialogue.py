"""What is asked and answered about a scene in the instruction datasets, and scenes with something changed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mmgic.toy.world import text, words
from mmgic.toy.world.scenes import Scene, Thing

Turn = tuple[str, str]  # question, answer

_WHAT = ("What is in the picture?", "What does this image show?", "Can you tell me what you see here?")


def talk(scene: Scene, captions: list[str], rng: np.random.Generator) -> list[Turn]:
    """A conversation of three or four rounds, answered in whole sentences."""
    thing = scene.things[int(rng.integers(len(scene.things)))]
    question, colour = text.colour_question(thing)
    wears = thing.category in words.PEOPLE
    turns = [
        (_WHAT[int(rng.integers(len(_WHAT)))], captions[0]),
        (question, f"The {thing.category} {'wears' if wears else 'is'} {colour}."),
        ("How many things can you see?", _count(len(scene.things))),
    ]
    if rng.random() < 0.5:
        turns.append(("Where was this drawn?", text.sentence(f"it looks like a place {words.WHERE[scene.setting]}")))
    return turns


def _count(number: int) -> str:
    return "There is one thing." if number == 1 else f"There are {number} things."


def detailed(scene: Scene, captions: list[str]) -> str:
    """A long description: the caption, then each thing with all that can be said of it."""
    sentences = [captions[0]]
    for thing in scene.things:
        sentences.append(text.sentence(f"one of the things is {text.noun_phrase(thing, details=True)}"))
    return f"{' '.join(sentences)}\n\n{_count(len(scene.things))}"


def short_questions(scene: Scene, rng: np.random.Generator) -> list[Turn]:
    """Up to four questions with answers of a word."""
    asked = text.existence_questions(scene, rng, pairs=1)
    return [*asked, *(text.colour_question(thing) for thing in scene.things[:2])]


def multiple_choice(scene: Scene, rng: np.random.Generator) -> tuple[str, list[str], int]:
    """A question, four choices and the position of the right one."""
    thing = scene.things[int(rng.integers(len(scene.things)))]
    question, colour = text.colour_question(thing)
    others = [str(name) for name in rng.permutation([name for name in words.COLOURS if name != colour])[:3]]
    place = int(rng.integers(4))
    return question, [*others[:place], colour, *others[place:]], place


def region_questions(scene: Scene) -> list[Turn]:
    """What a region shows, and where a thing is: places as corners in fractions of the image."""
    thing = scene.things[0]
    x, y, w, h = thing.box
    corners = (x / scene.width, y / scene.height, (x + w) / scene.width, (y + h) / scene.height)
    place = f"[{', '.join(f'{edge:.2f}' for edge in corners)}]"
    said = text.sentence(text.noun_phrase(thing, details=True))
    sought = "Please provide the bounding box coordinate of the region this sentence describes"
    return [(f"Please provide a short description for this region: {place}.", said), (f"{sought}: {said}", place)]


def recoloured(scene: Scene, rng: np.random.Generator, but: tuple[int, ...] = ()) -> tuple[str, Scene, int]:
    """An instruction, the scene after it, and which thing it changed: one not in `but`, if there is another."""
    free = [i for i in range(len(scene.things)) if i not in but] or list(range(len(scene.things)))
    i = free[int(rng.integers(len(free)))]
    thing = scene.things[i]
    options = [c for c in words.COLOURS if c != thing.colour and not words.held_out(thing.category, c)]
    changed: Thing = replace(thing, colour=options[int(rng.integers(len(options)))])
    things = tuple(changed if k == i else other for k, other in enumerate(scene.things))
    if thing.category in words.PEOPLE:
        instruction = f"Dress the {thing.category} in {changed.colour}."
    else:
        instruction = f"Make the {thing.category} {changed.colour}."
    return instruction, replace(scene, things=things), i


def word_lessons() -> list[tuple[str, str, str]]:
    """(instruction, input or "", output) about the words of the toy world."""
    lessons: list[tuple[str, str, str]] = []
    for name, category in words.CATEGORIES.items():
        meaning = text.sentence(category.description)
        if len(lessons) % 2:
            lessons.append(("Name the thing that is described.", meaning, text.sentence(text.with_article(name))))
        else:
            lessons.append((f"Explain what {text.with_article(name)} is.", "", meaning))
    return lessons
