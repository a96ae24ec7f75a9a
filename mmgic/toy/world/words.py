"""The words of the toy world: what exists in it, how it may look and what each word means.

Categories are grouped by the setting where they are mostly seen, so that some things are frequent and some go together.
"""

from __future__ import annotations

from dataclasses import dataclass

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "orange": (242, 135, 25),
    "yellow": (246, 216, 45),
    "green": (38, 150, 62),
    "blue": (40, 92, 214),
    "purple": (138, 60, 182),
    "white": (250, 250, 250),
    "black": (38, 38, 40),
}

PEOPLE = ("man", "woman", "baby")  # their colour is that of their clothes


@dataclass(frozen=True)
class Category:
    """One kind of object. `states` and `materials` are those that can be drawn on it."""

    name: str
    synset: str  # WordNet 3.0
    description: str
    states: tuple[str, ...] = ()
    materials: tuple[str, ...] = ()


_FABRIC = ("striped", "spotted")
_HARD = ("wooden", "metal")

CATEGORIES: dict[str, Category] = {
    category.name: category
    for category in (
        Category("man", "man.n.01", "an adult male person, drawn with short hair, a shirt and trousers", ("waving",)),
        Category("woman", "woman.n.01", "an adult female person, drawn with long hair and a wide dress", ("waving",)),
        Category("baby", "baby.n.01", "a very young child with a large round head and a small body"),
        Category(
            "dog", "dog.n.01", "a four-legged pet with hanging ears, a snout and a raised tail", ("sitting",), _FABRIC
        ),
        Category(
            "cat", "cat.n.01", "a small furry pet with pointed ears, whiskers and a long tail", ("sleeping",), _FABRIC
        ),
        Category("bird", "bird.n.01", "an animal with a beak, two thin legs and wings for flying", ("flying",)),
        Category("fish", "fish.n.01", "an animal with an oval body and a tail fin that swims in water", (), _FABRIC),
        Category("table", "table.n.02", "a piece of furniture with a flat top resting on straight legs", (), _HARD),
        Category("chair", "chair.n.01", "a seat for one person with a tall back and legs", (), _HARD),
        Category("lamp", "lamp.n.02", "a stand with a shade that gives light in a room", ("lit",)),
        Category(
            "car",
            "car.n.01",
            "a road vehicle with a low body, a cabin and two visible wheels",
            (),
            ("metal", "striped"),
        ),
        Category("bus", "bus.n.01", "a long road vehicle with a row of windows for many passengers", (), ("striped",)),
        Category("boat", "boat.n.01", "a vessel with a hull and a sail that floats on water", (), _HARD),
        Category("bicycle", "bicycle.n.01", "a vehicle with a thin frame, two large wheels and pedals"),
        Category("apple", "apple.n.01", "a round fruit with a short stem and a small leaf"),
        Category("banana", "banana.n.02", "a long curved fruit with a thick peel"),
        Category("cake", "cake.n.03", "a sweet baked food in layers with candles on top", (), _FABRIC),
        Category("ball", "ball.n.01", "a round toy with white panels that is thrown or kicked"),
        Category("kite", "kite.n.03", "a diamond-shaped toy with a long tail that flies in the wind", (), _FABRIC),
        Category("balloon", "balloon.n.01", "an oval bag filled with light gas hanging on a string", (), _FABRIC),
        Category("tree", "tree.n.01", "a tall plant with a brown trunk and a crown of leaves"),
        Category(
            "house",
            "house.n.01",
            "a building with walls, a pointed roof, a door and a window",
            (),
            ("wooden", "striped"),
        ),
        Category("flower", "flower.n.01", "a plant with a ring of petals on a green stem"),
        Category("hat", "hat.n.01", "a covering for the head with a wide brim and a band", (), _FABRIC),
        Category(
            "umbrella", "umbrella.n.01", "a round cover on a stick that keeps off rain or sun", ("closed",), _FABRIC
        ),
        Category("box", "box.n.01", "a square container with flat sides and a lid", ("open",), ("wooden", "metal")),
        Category(
            "cup", "cup.n.01", "a small open container with a handle, used for drinking", (), ("metal", "spotted")
        ),
    )
}

# where a category is mostly met; the first names of a setting are drawn most often
SETTINGS: dict[str, tuple[str, ...]] = {
    "park": ("tree", "dog", "woman", "bicycle", "kite", "bird", "flower", "ball", "balloon"),
    "beach": ("boat", "umbrella", "man", "fish", "ball", "hat", "bird", "kite"),
    "room": ("table", "chair", "cat", "lamp", "baby", "box", "cup", "apple", "cake", "banana"),
    "street": ("car", "house", "bus", "man", "bicycle", "tree", "woman", "dog"),
    "snow": ("house", "tree", "man", "hat", "bird", "car", "dog", "box"),
}
WHERE = {
    "park": "in a park",
    "beach": "on a beach",
    "room": "in a room",
    "street": "on a street",
    "snow": "in the snow",
}

# what may stand in which relationship; "left of" and "above" hold between any two objects
SURFACES = ("table", "box", "car", "bus", "house")
ON_TOP = ("cup", "apple", "cake", "banana", "lamp", "cat", "bird", "ball", "hat", "box", "flower")
CONTAINERS = ("box", "cup")
CONTENTS = ("cat", "dog", "ball", "apple", "banana", "fish", "hat", "baby", "bird", "flower")
HOLDERS = ("man", "woman")
HELD = ("balloon", "umbrella", "kite", "flower", "cup", "ball", "apple", "banana", "hat")

SIZES = ("big", "small")

ATTRIBUTE_DESCRIPTIONS = {
    "red": "the color of blood, ripe cherries and stop signs",
    "orange": "the color between red and yellow, like a ripe pumpkin",
    "yellow": "the bright color of lemons, egg yolks and the sun",
    "green": "the color of grass and fresh leaves",
    "blue": "the color of a clear sky or deep water",
    "purple": "a color between blue and red, like ripe plums",
    "white": "the lightest color, like milk, paper or fresh snow",
    "black": "the darkest color, like coal or the night sky",
    "big": "taking up much more room than other things in the scene",
    "small": "taking up much less room than other things in the scene",
    "wooden": "made of wood, with thin dark lines of grain across it",
    "metal": "made of shiny metal with bright slanted reflections on its surface",
    "striped": "covered with straight bands of a second color",
    "spotted": "covered with round dots of a second color",
    "waving": "raising one arm high in the air as a greeting",
    "sitting": "resting on its hind legs with its body upright",
    "sleeping": "lying curled up with closed eyes and a resting body",
    "flying": "moving through the air with both wings spread out",
    "lit": "switched on, so that bright light shines out of it",
    "closed": "folded together, so that it is narrow and covers nothing",
    "open": "with its lid up, so that things can be put in",
}

RELATIONSHIP_DESCRIPTIONS = {
    "left of": "the subject is placed nearer to the left edge than the object",
    "above": "the subject is placed higher in the picture than the object",
    "on": "the subject rests upon the top of the object and touches it",
    "inside": "the subject is partly hidden within the object that contains it",
    "holds": "the subject keeps the object in its hand",
    "wears": "the subject has the object on its body as clothing",
}


def held_out(category: str, colour: str) -> bool:
    """Whether this pair of category and colour appears in evaluation scenes only (about one pair in nine)."""
    return (2 * list(CATEGORIES).index(category) + list(COLOURS).index(colour)) % 9 == 4
