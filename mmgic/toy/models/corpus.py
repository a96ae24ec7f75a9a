"""Text of the toy world for its frozen language model: documents and instruction rounds without any image.

They have the very form of the training documents (F.6, Table 16). What a picture would show is said in its place in
words, or not at all, so that the model knows the wording and how to answer from what it was told, as a downloaded Llama
does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mmgic.descriptions.reading import Descriptions
from mmgic.documents.tasks import TEMPLATES, make_round, sentence_start
from mmgic.documents.template import REGIONS_HEADING, Order, Segment, image_part, region_part
from mmgic.regions import make_regions
from mmgic.schema import AnnotatedImage, Attribute, Object, Part, Relationship, record_generator
from mmgic.settings import SYSTEM_PROMPT, RegionSettings
from mmgic.sources.rows import annotated_image, text_part
from mmgic.toy.world import text
from mmgic.toy.world.scenes import Scene, make_scene
from mmgic.toy.world.words import ATTRIBUTE_DESCRIPTIONS, CATEGORIES, RELATIONSHIP_DESCRIPTIONS

_REGIONS, _PATCHES = RegionSettings(min_patches=2, max_patches=6.5), 8
_SYSTEM_PROMPTS = ("You are a helpful assistant.", "", SYSTEM_PROMPT)
_DESCRIPTIONS = Descriptions(
    {category.name: text.sentence(category.description) for category in CATEGORIES.values()},
    {label: text.sentence(meaning) for label, meaning in ATTRIBUTE_DESCRIPTIONS.items()},
    {label: text.sentence(meaning) for label, meaning in RELATIONSHIP_DESCRIPTIONS.items()},
)


@dataclass(frozen=True)
class Passage:
    """What stands between one <s> and its </s>: `context` is read, `answer` is learned, both in segments that are
    tokenized one by one."""

    context: tuple[str, ...]
    answer: tuple[str, ...]


def passages(seed: int, index: int) -> list[Passage]:
    """The text of one training scene: a document, an instruction with several rounds, or (half of all) a plain quiz."""
    scene = make_scene(seed, "train", index)
    rng = record_generator(seed, "toy corpus", "train", str(index))
    if index % 4 == 0:
        return [Passage((), tuple(_document(scene, rng)))]
    told, asked = _told(scene, rng), _asked(scene, rng)
    return _rounds(told, asked, rng) if index % 4 == 1 else _quiz(told, asked)


def whole_texts(seed: int, scenes: int) -> Iterator[str]:
    """The text of the first `scenes` scenes, a string per passage, for training a tokenizer."""
    for index in range(scenes):
        for passage in passages(seed, index):
            yield "".join((*passage.context, *passage.answer))


def _document(scene: Scene, rng: np.random.Generator) -> list[str]:
    """A document whose image slots hold the names of what the image shows, or nothing."""
    caption = text.captions(scene, rng, 1)[0]
    order: Order = "image_first" if rng.random() < 0.5 else "text_first"
    row = make_regions(_row(scene, caption), _REGIONS, _PATCHES)
    words = [_listing(scene, list(range(len(scene.things))), rng)]
    if rng.random() < 0.4:
        return _in_words(image_part(row, order, "C", None), words)
    segments = image_part(row, order, "CLDR", _DESCRIPTIONS if rng.random() < 0.5 else None)
    shuffled = [row["regions"][i] for i in rng.permutation(len(row["regions"]))]
    for i, region in enumerate(shuffled):
        segments += [*([] if i else [REGIONS_HEADING]), *region_part(region, 1 + i, order)]
        words.append(_listing(scene, [scene.categories.index(label) for label in region["labels"]], rng))
    return _in_words(segments, words)


def _in_words(segments: list[Segment], words: list[str]) -> list[str]:
    return [segment if isinstance(segment, str) else words[segment.index] for segment in segments]


def _listing(scene: Scene, members: list[int], rng: np.random.Generator) -> str:
    """ "red car, small blue striped dog": the things `members` in any order; "" for one listing in four."""
    if rng.random() < 0.25:
        return ""
    details = rng.random() < 0.5
    phrases = [text.noun_phrase(scene.things[i], details).split(" ", 1)[1] for i in rng.permutation(members)]
    return ", ".join(phrases)


def _row(scene: Scene, caption: str) -> AnnotatedImage:
    """The annotations that the templates read."""
    objects: list[Object] = []
    for i, thing in enumerate(scene.things):
        x, y, w, h = thing.box
        objects.append({"object_id": str(i), "label": thing.category, "synset": "", "x": x, "y": y, "w": w, "h": h})
    attributes: list[Attribute] = [
        {"object_id": str(i), "label": label} for i, thing in enumerate(scene.things) for label in thing.attributes
    ]
    relationships: list[Relationship] = [
        {"subject_id": str(r.subject), "label": r.label, "object_id": str(r.object)} for r in scene.relations
    ]
    return annotated_image(
        "toy",
        "",
        0,
        width=scene.width,
        height=scene.height,
        caption=caption,
        objects=objects,
        attributes=attributes,
        relationships=relationships,
    )


def _told(scene: Scene, rng: np.random.Generator) -> str:
    """What is said of a scene before questions are asked about it: a caption or a listing."""
    caption = text.captions(scene, rng, 1)[0]
    return caption if rng.random() < 0.5 else _listing(scene, list(range(len(scene.things))), rng) or caption


def _asked(scene: Scene, rng: np.random.Generator) -> list[tuple[str, str]]:
    """Questions with their answers: for each object that is there, one that is not and one colour."""
    asked = text.existence_questions(scene, rng, pairs=len(scene.things))
    asked += [text.colour_question(thing) for thing in scene.things]
    return [asked[int(i)] for i in rng.permutation(len(asked))]


def _rounds(told: str, asked: list[tuple[str, str]], rng: np.random.Generator) -> list[Passage]:
    """Up to eight questions in Table 16's form; the first round carries what is told."""
    system = _SYSTEM_PROMPTS[int(rng.choice(len(_SYSTEM_PROMPTS), p=(0.8, 0.1, 0.1)))]
    rounds = []
    for i, (question, answer) in enumerate(asked[:8]):
        image: list[Part] = [] if i else [{"text": "", "image": 0}]
        asked_now = [*image, text_part(question)]
        made = make_round(TEMPLATES["open_vqa"], asked_now, [text_part(answer)], None if i else system)
        rounds.append(Passage(tuple(_in_words(made.instruction, [told])), tuple(_in_words(made.response, []))))
    return rounds


def _quiz(told: str, asked: list[tuple[str, str]]) -> list[Passage]:
    """Questions without the ceremony of an instruction: more of what is to be learned in as many tokens."""
    return [
        Passage((f"{told}\n{question}" if i == 0 else question,), (f" {sentence_start(answer)}",))
        for i, (question, answer) in enumerate(asked)
    ]
