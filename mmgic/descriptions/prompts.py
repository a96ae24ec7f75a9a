"""The prompts of F.5: what is asked about an object, attribute or relationship label (Tables 17 to 22).

They give every instruction and tip of the tables in our own words, with examples of our own. Where the labels are noisy
(Visual Genome's come from a crowd), the model may answer "Invalid." and why (Tables 20 to 22).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmgic.descriptions import KINDS, Kind
from mmgic.language_model.client import Prompt

WORDS = 50  # about as many a description is asked to have


@dataclass(frozen=True)
class _Example:
    label: str
    description: str
    related: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Wording:
    """What differs between the three kinds of label."""

    labelled: str
    related: str  # the name of the related labels; "" if there are none
    related_meaning: str
    noise: str  # what may be wrong with the related labels
    senses: str
    knowledge: str
    questions: tuple[str, ...]
    examples: tuple[_Example, ...]
    invalid: tuple[_Example, ...]


_WORDINGS: dict[Kind, _Wording] = {
    "object": _Wording(
        labelled="objects",
        related="",
        related_meaning="",
        noise="",
        senses='the object label "pipe" may name a tube or a thing to smoke with, and the tube is likelier in an image',
        knowledge="Relevant knowledge: add important concepts, history or culture where they help to understand the "
        "object, and leave out needless detail.",
        questions=(
            "Which features help to tell an object of this label apart in an image?",
            "What does an object of this label look like in an image?",
            "By which characteristics is an object of this label identified in an image?",
            "Which visual clues matter most for recognizing this label in an image?",
        ),
        examples=(
            _Example(
                "pelican",
                "A pelican is a large, heavy water bird with short legs, broad wings and webbed feet. Its most "
                "striking feature is a long, straight bill with a stretchy pouch of bare skin below, which scoops up "
                "fish. Plumage is mostly white, gray or brown, and flocks gather along coasts, lakes and rivers.",
            ),
            _Example(
                "teapot",
                "A teapot is a rounded vessel for brewing and pouring tea, with a curved spout on one side, a handle "
                "opposite and a lid with a small knob on top. It is made of glazed ceramic, porcelain, glass or metal, "
                "often decorated, and usually stands on a table beside cups and saucers.",
            ),
            _Example(
                "traffic cone",
                "A traffic cone is a hollow, pointed marker on a square base that warns drivers and walkers of works "
                "or closed lanes. It is nearly always bright orange with one or two white reflective bands, stands "
                "about knee-high, is made of flexible plastic, and mostly appears in rows on roads.",
            ),
        ),
        invalid=(
            _Example(
                "left hand side of",
                "Invalid. This phrase names a position relative to something else, not a kind of object that can be "
                "seen and outlined by itself.",
            ),
        ),
    ),
    "attribute": _Wording(
        labelled="the attributes of objects",
        related="Related object labels",
        related_meaning="labels of objects that may have the attribute, separated by commas",
        noise="Some of the related object labels may be invalid or may not go with the attribute label. Ignore those.",
        senses='the attribute label "light" may mean "pale in color" as well as "of little weight", and the objects '
        "that go with it tell which",
        knowledge="Appearance, perception and effect: say how the attribute usually looks or is perceived on objects, "
        "be it color, texture, size, sensation, function or whatever else matters for this attribute.",
        questions=(
            "How is the attribute usually seen or sensed?",
            "How does the attribute change the object, the way it is perceived or what it does?",
            "By which characteristics is the attribute of an object identified in an image?",
            "Which visual clues matter most for recognizing this label in an image?",
        ),
        examples=(
            _Example(
                "rusty",
                "Rusty describes iron or steel whose surface has reacted with water and air. It shows as reddish-brown "
                "to orange patches that look rough, flaky or powdery, often spreading from edges, joints and "
                "scratches. It suggests age, neglect and weakness, and dulls whatever paint or shine was there before.",
                ("Pipe", "Car", "Bicycle", "Gate", "Chain"),
            ),
            _Example(
                "translucent",
                "Translucent describes material that lets light through but scatters it, so that shapes behind appear "
                "soft and blurred. Such objects seem to glow gently when lit from behind, lack sharp see-through "
                "detail, and lie between clear and opaque, as frosted glass, thin curtains and jellyfish do.",
                ("Curtain", "Lampshade", "Jellyfish", "Bottle"),
            ),
            _Example(
                "kneeling",
                "Kneeling describes a posture in which one or both knees rest on the ground and carry the body, with "
                "the lower legs folded back and the trunk mostly upright. It makes a person look shorter and is common "
                "in prayer, gardening, proposals, sports photographs, and when reaching something low.",
                ("Man", "Woman", "Child", "Camel"),
            ),
        ),
        invalid=(
            _Example(
                "there is a",
                "Invalid. This is the beginning of a sentence and not a property that an object could have.",
                ("Tree", "Sky", "Table"),
            ),
        ),
    ),
    "relationship": _Wording(
        labelled="the relationships between objects",
        related="Related subject-object pairs",
        related_meaning="pairs of labels between which the relationship was seen, each written as "
        "[subject label, object label], separated by commas",
        noise="Some of the related subject-object pairs may be invalid or may not go with the relationship label. "
        "Ignore those.",
        senses='the relationship label "saddle" is a verb that means "to put a saddle on an animal", not the noun for '
        "the seat itself",
        knowledge="Nature of the relationship: say of what sort it is (for example spatial, an action, functional, "
        "hierarchical, temporal or social), and how the subject and the object act upon or relate to each other.",
        questions=(
            "How does the relationship show in the image?",
            "What are its main characteristics, and what does it signify?",
            "In which common or typical situations is it seen?",
            "Which visual clues matter most for recognizing this label in an image?",
        ),
        examples=(
            _Example(
                "leaning against",
                'The relationship "leaning against" means that the subject stands at a slant and rests part of its '
                "weight sideways on the object, which holds it up. They touch at the subject's upper part or side "
                "while its foot stays on the ground, and without the object the subject would fall.",
                ("[Bicycle, Wall]", "[Ladder, Tree]", "[Man, Car]"),
            ),
            _Example(
                "feeding",
                'The relationship "feeding" is an action in which the subject gives food to the object. Usually a '
                "person holds food, a bottle or a spoon near the mouth or beak of an animal or child, both face each "
                "other closely, and it expresses care, as in families, farms, zoos and parks.",
                ("[Woman, Baby]", "[Girl, Horse]", "[Man, Bird]"),
            ),
            _Example(
                "parked next to",
                'The relationship "parked next to" is spatial: the subject, a vehicle standing still without being '
                "driven, is placed close beside the object at about the same height. A narrow gap separates them, "
                "wheels are at rest and mostly aligned with a curb or line, as on streets and in driveways.",
                ("[Car, Sidewalk]", "[Truck, House]", "[Bike, Bus]"),
            ),
        ),
        invalid=(
            _Example(
                "the man",
                "Invalid. This names a person and says nothing of how a subject and an object relate.",
                ("[Shirt, Man]", "[Sky, Grass]"),
            ),
        ),
    ),
}


def label_prompt(kind: Kind, label: str, related: Sequence[str] = (), noisy: bool = False) -> Prompt:
    """Asks for the description of one label in about fifty words.

    `related` are object labels beside an attribute, or pairs "[subject, object]" beside a relationship, the most
    frequent first. `noisy` allows the answer "Invalid." with a reason.
    """
    task = (
        f"# {kind.capitalize()} label description\n\n"
        f"Write an informative, concise, accurate and clear description of the {kind} label below in about {WORDS} "
        "words. Write nothing but the description."
    )
    return Prompt(
        _SYSTEM[kind, noisy], f"{task}\n\n{_fields(kind, _Example(_line(label), '', tuple(map(_line, related))))}"
    )


def _system(kind: Kind, noisy: bool) -> str:
    wording = _WORDINGS[kind]
    parts = [
        f"# How to describe {kind} labels",
        "You are a helpful, respectful and honest assistant, and an expert in describing the labels of "
        f"{wording.labelled} in an image.",
        f"You are given one {kind} label. Write a description of it that helps people to understand it better, by what "
        "is seen and by what the words mean. It should be informative, concise, accurate and clear.",
    ]
    if wording.related:
        form = _fields(kind, _Example(f"the {kind} label", f"the description of the {kind} label", ("...",)))
        parts.append(f"The examples below have this form, where '...' stands for {wording.related_meaning}:\n\n{form}")
    if noisy:
        parts.append(_noise(kind, wording))
    parts.append(f"Tips{' for a valid label' if noisy else ''}:\n\n{_tips(kind, wording)}")
    examples = [*wording.examples, *(wording.invalid if noisy else ())]
    parts.append("Examples:\n\n" + "\n\n".join(_fields(kind, example) for example in examples))
    return "\n\n".join(parts)


def _noise(kind: Kind, wording: _Wording) -> str:
    invalid = (
        f'The {kind} label itself may be invalid, that is, no reasonable {kind} label. Then write "Invalid." in place '
        "of the description, and after it why the label is invalid."
    )
    notes = [note for note in (wording.noise, invalid) if note]
    return "Take care, the data are noisy:\n\n" + _numbered(notes)


def _tips(kind: Kind, wording: _Wording) -> str:
    tips = [
        f"Universality: keep to features that most instances of the {kind} share.",
        f"Several meanings: take the meaning that is most relevant and most likely in an image. For instance, "
        f"{wording.senses}.",
        f"Distinctive features: stress what tells the {kind} apart from similar {kind}s.",
        wording.knowledge,
        "You may also think of these questions:\n"
        + "\n".join(f"   {number}. {question}" for number, question in enumerate(wording.questions, 1)),
    ]
    return _numbered(tips)


def _line(text: str) -> str:
    """`text` on one line: a label is data and must not pass for an instruction."""
    return " ".join(text.split())


def _numbered(lines: Sequence[str]) -> str:
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1))


def _fields(kind: Kind, example: _Example) -> str:
    related = _WORDINGS[kind].related
    lines = [
        f"{kind.capitalize()} label: {example.label}",
        *([f"{related}: {', '.join(example.related)}"] if related and example.related else []),
        f"Description: {example.description}".rstrip(),
    ]
    return "\n".join(lines)


_SYSTEM = {(kind, noisy): _system(kind, noisy) for kind in KINDS for noisy in (False, True)}
