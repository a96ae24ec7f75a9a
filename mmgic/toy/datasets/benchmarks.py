"""The toy world's evaluation scenes as examples, from which every benchmark writes its own files."""

from __future__ import annotations

from mmgic.evaluation.examples import ExamplePicture, ExampleQuestion, Examples
from mmgic.schema import record_generator
from mmgic.toy.datasets.samples import CaptionedScene, World
from mmgic.toy.world import text
from mmgic.toy.world.words import CATEGORIES, COLOURS

MAX_SCENES = 100_000  # of training; the image ids of evaluation scenes lie above them


def examples(world: World, scenes: int) -> Examples:
    """The first `scenes` evaluation scenes."""
    pictures = [_picture(sample, world.seed) for sample in world.samples(range(scenes), "eval")]
    return Examples(pictures, tuple(CATEGORIES), world.seed)


def _picture(sample: CaptionedScene, seed: int) -> ExamplePicture:
    scene = sample.scene
    rng = record_generator(seed, "toy questions", "eval", str(sample.number))
    exists = [
        ExampleQuestion(question, answer, tuple({"yes", "no"} - {answer}), "object")
        for question, answer in text.existence_questions(scene, rng, pairs=1)
    ]
    colours = [
        ExampleQuestion(question, answer, tuple(colour for colour in COLOURS if colour != answer), "color")
        for question, answer in map(text.colour_question, scene.things)
    ]
    return ExamplePicture(
        id=MAX_SCENES + sample.image_id,
        jpeg=sample.jpeg(),
        width=scene.width,
        height=scene.height,
        captions=tuple(sample.captions),
        objects=scene.categories,
        questions=(*exists, *colours),
    )
