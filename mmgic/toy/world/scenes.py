"""A scene of the toy world: which objects it holds, what they look like and where they stand.

Everything that is said about a scene (boxes, attributes, relationships, captions, answers) follows from the `Scene`
that is drawn, so all of it is true of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mmgic.schema import record_generator
from mmgic.toy.world import words
from mmgic.toy.world.pictograms import PICTOGRAMS, Pictogram

Split = Literal["train", "eval"]
Box = tuple[float, float, float, float]  # x, y, width, height in pixels of the image


@dataclass(frozen=True)
class Thing:
    """One object. `size`, `material` and `state` are "" if there is nothing to say."""

    category: str
    colour: str
    size: str = ""
    material: str = ""
    state: str = ""
    box: Box = (0.0, 0.0, 0.0, 0.0)

    @property
    def pictogram(self) -> Pictogram:
        return PICTOGRAMS[f"{self.category} {self.state}".strip()]

    @property
    def attributes(self) -> tuple[str, ...]:
        """The labels that are true of it: its colour and whichever of size, material and state it has."""
        return tuple(label for label in (self.colour, self.size, self.material, self.state) if label)


@dataclass(frozen=True)
class Relation:
    """`subject` and `object` are positions in the scene's `things`."""

    subject: int
    label: str
    object: int


@dataclass(frozen=True)
class Scene:
    """`things` are in the order of drawing; `groups` are things that belong together, in reading order."""

    setting: str
    width: int
    height: int
    horizon: float  # where the ground begins, as a fraction of the height
    shade: float  # brightness of the background, about 1
    things: tuple[Thing, ...]
    groups: tuple[tuple[int, ...], ...]
    relations: tuple[Relation, ...]

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories in the scene; no category appears twice."""
        return tuple(thing.category for thing in self.things)


def make_scene(seed: int, split: Split, index: int) -> Scene:
    """The scene number `index` of a world. Pairs that `words.held_out` names appear only where `split` is "eval"."""
    rng = record_generator(seed, "toy scene", split, str(index))
    setting = _choose(rng, list(words.SETTINGS))
    side = rng.integers(112, 145)
    aspect = np.exp(rng.uniform(-0.3, 0.3))
    width, height = (int(np.clip(round(side * edge), 96, 160)) for edge in (aspect**0.5, aspect**-0.5))

    things: list[Thing] = []
    groups: list[tuple[int, ...]] = []
    relations: list[Relation] = []
    wanted = int(rng.choice(5, p=[0.08, 0.17, 0.3, 0.27, 0.18])) + 1
    cells: list[Box] = []
    names = _choose_groups(rng, setting, wanted)
    for cell, (kind, members) in zip(_cells(len(names), width, height), names, strict=True):
        dressed = [_dress(rng, name, split) for name in members]
        group = _arrange(kind, dressed, min(width, height), len(names), rng)
        first = len(things)
        things += _place(group, cell, rng)
        groups.append(tuple(range(first, first + len(group))))
        cells.append(cell)
        if kind != "alone":
            relations.append(Relation(first, kind, first + 1))
    relations += _between_groups(cells, groups)
    # the content of a container is partly hidden by it, everything else stands in front of what carries it
    order = _drawing_order(len(things), relations)
    position = {old: new for new, old in enumerate(order)}
    return Scene(
        setting,
        width,
        height,
        horizon=float(rng.uniform(0.35, 0.6)),
        shade=float(rng.uniform(0.93, 1.04)),
        things=tuple(things[i] for i in order),
        groups=tuple(tuple(position[i] for i in group) for group in groups),
        relations=tuple(Relation(position[r.subject], r.label, position[r.object]) for r in relations),
    )


def enlarged(scene: Scene, scale: int) -> Scene:
    """`scene` in a picture `scale` times as wide and as high."""
    things = []
    for thing in scene.things:
        x, y, w, h = thing.box
        things.append(replace(thing, box=(scale * x, scale * y, scale * w, scale * h)))
    return replace(scene, width=scale * scene.width, height=scale * scene.height, things=tuple(things))


def _choose(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _choose_category(rng: np.random.Generator, setting: str, options: Sequence[str], used: set[str]) -> str:
    """A category of `options` that is not in `used`, mostly one of the setting, its first names more often."""
    free = [name for name in options if name not in used]
    usual = [name for name in words.SETTINGS[setting] if name in free]
    if not usual or rng.random() < 0.25:
        return _choose(rng, free)
    weights = 1.0 / (2 + np.arange(len(usual)))
    return str(rng.choice(usual, p=weights / weights.sum()))


def _choose_groups(rng: np.random.Generator, setting: str, wanted: int) -> list[tuple[str, list[str]]]:
    """Groups of one or two categories, `wanted` categories in all, each with the relationship of its members."""
    groups: list[tuple[str, list[str]]] = []
    used: set[str] = set()

    def take(options: Sequence[str]) -> str:
        name = _choose_category(rng, setting, options, used)
        used.add(name)
        return name

    pairs = {
        "on": (words.ON_TOP, words.SURFACES),
        "inside": (words.CONTENTS, words.CONTAINERS),
        "holds": (words.HOLDERS, words.HELD),
        "wears": (words.HOLDERS, ("hat",)),
    }
    while len(used) < wanted:
        left = wanted - len(used)
        # more than four places do not fit into one picture
        paired = left >= 2 and (left + len(groups) > 4 or rng.random() < 0.5)
        possible = [kind for kind, sides in pairs.items() if all(set(side) - used for side in sides)]
        if paired and possible:
            # hats would be everywhere otherwise
            kind = _choose(rng, [kind for kind in possible for _ in range(1 if kind == "wears" else 3)])
            subjects, objects = pairs[kind]
            # the rarer side first: a box may be both carried and carrier
            if kind in ("on", "inside"):
                carrier = take(objects)
                groups.append((kind, [take(subjects), carrier]))
            else:
                groups.append((kind, [take(subjects), take(objects)]))
        else:
            groups.append(("alone", [take(list(words.CATEGORIES))]))
    return groups


def _dress(rng: np.random.Generator, name: str, split: Split) -> Thing:
    """`name` with a colour and perhaps a material and a state."""
    category = words.CATEGORIES[name]
    colours = list(words.COLOURS)
    secret = [colour for colour in colours if words.held_out(name, colour)]
    if split == "train":
        colours = [colour for colour in colours if colour not in secret]
    elif secret and rng.random() < 0.25:
        colours = secret
    material = _choose(rng, category.materials) if category.materials and rng.random() < 0.35 else ""
    state = _choose(rng, category.states) if category.states and rng.random() < 0.4 else ""
    return Thing(name, _choose(rng, colours), material=material, state=state)


def _fit(thing: Thing, longest: float) -> Thing:
    """`thing` with a box at the origin whose longer side is `longest`."""
    aspect = thing.pictogram.aspect
    width, height = (longest, longest / aspect) if aspect > 1 else (longest * aspect, longest)
    return replace(thing, box=(0.0, 0.0, width, height))


def _at(thing: Thing, x: float, y: float) -> Thing:
    return replace(thing, box=(x, y, thing.box[2], thing.box[3]))


def _arrange(kind: str, members: list[Thing], side: float, groups: int, rng: np.random.Generator) -> list[Thing]:
    """The members of one group placed relative to each other. `side` is the image's shorter side in pixels."""
    first = members[0]
    if kind == "alone":
        size = _choose(rng, words.SIZES) if rng.random() < 0.35 else ""
        size = "" if size == "big" and groups > 2 else size
        return [_fit(replace(first, size=size), side * {"big": 0.62, "": 0.42, "small": 0.26}[size])]
    second = members[1]
    if kind == "holds":
        person = _fit(first, 0.58 * side)
        hand_x, hand_y = 0.97 * person.box[2], 0.46 * person.box[3]
        held = _fit(second, side * (0.4 if second.category in ("balloon", "umbrella", "kite") else 0.31))
        grip = 0.97 if second.category in ("balloon", "umbrella", "kite", "flower") else 0.5
        return [person, _at(held, hand_x - 0.02 * side, hand_y - grip * held.box[3])]
    if kind == "wears":
        person = _fit(first, 0.6 * side)
        hat = _fit(replace(second, state=""), 0.85 * person.box[2])
        return [person, _at(hat, 0.46 * person.box[2] - hat.box[2] / 2, 0.1 * person.box[3] - hat.box[3])]
    if kind == "on":
        # an open box and a standing one are different pictures: things stand on a closed one, and a flying bird rests
        carrier = _fit(replace(second, state=""), 0.46 * side)
        top = _fit(replace(first, state="" if first.state == "flying" else first.state), 0.3 * side)
        rest = carrier.pictogram.top * carrier.box[3]
    else:
        carrier = _fit(replace(second, state="open" if second.category == "box" else second.state), 0.44 * side)
        top = _fit(replace(first, state="" if first.state == "flying" else first.state), 0.36 * side)
        # a baby's colour is that of its clothes, which are low: more of them stays above the rim
        sunk = 0.12 if first.category == "baby" else 0.3
        rest = carrier.pictogram.top * carrier.box[3] + sunk * top.box[3]
    x = (carrier.box[2] - top.box[2]) * rng.uniform(0.35, 0.65)
    return [_at(top, x, rest - top.box[3]), carrier]


def _cells(groups: int, width: int, height: int) -> list[Box]:
    """The part of the image for each group, in reading order."""
    if groups == 1:
        return [(0, 0, width, height)]
    if groups == 2:
        columns, rows = (2, 1) if width >= 0.85 * height else (1, 2)
    elif groups == 3 and width >= 1.25 * height:
        columns, rows = 3, 1
    else:
        columns, rows = 2, 2
    w, h = width / columns, height / rows
    cells = [(column * w, row * h, w, h) for row in range(rows) for column in range(columns)][:groups]
    if groups == 3 and rows == 2:
        cells[2] = (0, h, width, h)
    return cells


def _place(group: list[Thing], cell: Box, rng: np.random.Generator) -> list[Thing]:
    """`group` scaled down if it must be and put at a random position inside `cell`."""
    left, top = min(t.box[0] for t in group), min(t.box[1] for t in group)
    right = max(t.box[0] + t.box[2] for t in group)
    bottom = max(t.box[1] + t.box[3] for t in group)
    margin = 2.0
    room_w, room_h = cell[2] - 2 * margin, cell[3] - 2 * margin
    scale = min(1.0, room_w / (right - left), room_h / (bottom - top))
    x = cell[0] + margin + (room_w - scale * (right - left)) * rng.uniform(0.1, 0.9)
    y = cell[1] + margin + (room_h - scale * (bottom - top)) * rng.uniform(0.2, 1.0)
    return [
        replace(
            thing,
            box=(
                x + scale * (thing.box[0] - left),
                y + scale * (thing.box[1] - top),
                scale * thing.box[2],
                scale * thing.box[3],
            ),
        )
        for thing in group
    ]


def _between_groups(cells: list[Box], groups: list[tuple[int, ...]]) -> list[Relation]:
    """Where the first member of one group stands relative to that of the next."""
    relations = []
    for (a, first), (b, second) in zip(
        zip(cells, groups, strict=True), zip(cells[1:], groups[1:], strict=True), strict=False
    ):
        if a[1] == b[1]:
            relations.append(Relation(first[0], "left of", second[0]))
        elif a[0] == b[0] or b[2] > a[2]:
            relations.append(Relation(first[0], "above", second[0]))
    if len(groups) == 3 and cells[2][2] > cells[0][2]:
        relations.append(Relation(groups[0][0], "above", groups[2][0]))
    if len(groups) == 4:
        relations.append(Relation(groups[0][0], "above", groups[2][0]))
    return relations


def _drawing_order(count: int, relations: list[Relation]) -> list[int]:
    """Positions such that a carrier is drawn before what is on it and a container after what is inside it."""
    order = list(range(count))
    for relation in relations:
        if relation.label == "on":
            order.remove(relation.object)
            order.insert(order.index(relation.subject), relation.object)
    return order
