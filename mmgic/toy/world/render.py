"""Draws a scene. Shapes are drawn several times larger and scaled down, so that edges are smooth."""

from __future__ import annotations

from PIL import Image, ImageDraw

from mmgic.toy.world.pictograms import PAINTS, Shape
from mmgic.toy.world.scenes import Scene, Thing
from mmgic.toy.world.words import COLOURS

_SCALE = 3  # drawn pixels per pixel of the image
_OUTLINE = (30, 28, 34)
_BACKGROUNDS = {  # above the horizon, below it
    "park": ((206, 232, 246), (170, 208, 140)),
    "beach": ((176, 222, 236), (240, 224, 176)),
    "room": ((236, 218, 206), (206, 172, 134)),
    "street": ((222, 222, 230), (176, 176, 182)),
    "snow": ((190, 208, 230), (240, 244, 250)),
}


def render(scene: Scene) -> Image.Image:
    """The picture of `scene`, RGB, `scene.width` by `scene.height` pixels."""
    size = scene.width * _SCALE, scene.height * _SCALE
    above, below = (tuple(min(255, round(v * scene.shade)) for v in paint) for paint in _BACKGROUNDS[scene.setting])
    image = Image.new("RGB", size, above)
    image.paste(below, (0, round(scene.horizon * size[1]), *size))
    for thing in scene.things:
        _draw_thing(image, thing)
    return image.reduce(_SCALE)


def _draw_thing(image: Image.Image, thing: Thing) -> None:
    x, y, w, h = (round(edge * _SCALE) for edge in thing.box)
    colour = COLOURS[thing.colour]
    canvas = ImageDraw.Draw(image)
    mask = Image.new("1", (w, h)) if thing.material else None  # where the material's pattern goes
    stencil = ImageDraw.Draw(mask) if mask else None
    outline = max(2, round(0.02 * min(image.size) / 2))
    for shape in thing.pictogram.shapes:
        role = shape[1].removeprefix("*")
        _draw_shape(canvas, shape, (x, y, w, h), colour if role == "fill" else PAINTS[role], outline)
        if stencil:
            _draw_shape(stencil, shape, (0, 0, w, h), int(role == "fill"), outline, edge=0)
    if mask:
        image.paste(_pattern(thing.material, colour, (w, h)), (x, y), mask)


def _draw_shape(
    canvas: ImageDraw.ImageDraw,
    shape: Shape,
    box: tuple[int, int, int, int],
    paint: tuple[int, int, int] | int,
    outline: int,
    edge: tuple[int, int, int] | int = _OUTLINE,
) -> None:
    """`outline` is the edge's width in drawn pixels; a role with a leading star has no edge, to join shapes."""
    kind, role, numbers = shape
    x, y, w, h = box
    outline = 0 if role.startswith("*") else outline
    if kind in ("line", "ring"):
        thickness, numbers = max(2, round(numbers[0] * min(w, h))), numbers[1:]
    points = [
        (x + round(px * (w - 1)), y + round(py * (h - 1))) for px, py in zip(numbers[::2], numbers[1::2], strict=True)
    ]
    if kind == "ellipse":
        canvas.ellipse(points, fill=paint, outline=edge, width=outline)
    elif kind == "box":
        canvas.rectangle(points, fill=paint, outline=edge, width=outline)
    elif kind == "polygon":
        canvas.polygon(points, fill=paint, outline=edge, width=outline)
    elif kind == "ring":
        canvas.ellipse(points, outline=paint, width=thickness)
    else:
        canvas.line(points, fill=paint, width=thickness, joint="curve")


def _pattern(material: str, colour: tuple[int, int, int], size: tuple[int, int]) -> Image.Image:
    """A tile of `size` drawn pixels in `colour` with the marks of `material` on it."""
    tile = Image.new("RGB", size, colour)
    canvas = ImageDraw.Draw(tile)
    width, height = size
    contrast = (60, 60, 66) if sum(colour) > 480 else (250, 250, 250)
    grain = tuple(round(0.55 * v) if sum(colour) > 150 else 120 for v in colour)
    step = 6 * _SCALE
    if material == "striped":
        for x in range(step // 2, width, step):
            canvas.rectangle((x, 0, x + 1.6 * _SCALE, height), fill=contrast)
    elif material == "spotted":
        for row, y in enumerate(range(0, height, step)):
            for x in range(row % 2 * step // 2, width, step):
                canvas.ellipse((x, y, x + 2 * _SCALE, y + 2 * _SCALE), fill=contrast)
    elif material == "wooden":
        for y in range(_SCALE, height, 3 * _SCALE):
            canvas.line((0, y, width, y), fill=grain, width=_SCALE)
    elif material == "metal":
        shine = tuple(round(v + 0.65 * (255 - v)) if sum(colour) < 700 else 170 for v in colour)
        for x in range(-height, width, 3 * step):
            canvas.line((x, height, x + height, 0), fill=shine, width=round(1.6 * _SCALE))
    return tile
