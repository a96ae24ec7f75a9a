"""How each object of the toy world is drawn: simple shapes in a unit square that is stretched to the object's box.

A shape is (kind, role, numbers). Kinds: "ellipse" and "box" take x0 y0 x1 y1, "polygon" takes x y pairs, "line" takes a
width and x y pairs, "ring" takes a width and x0 y0 x1 y1. Roles are "fill", which takes the object's colour and its
material's pattern, or a name of PAINTS. Every pictogram touches the four edges of its square, so that the box is tight.
"""

from __future__ import annotations

from dataclasses import dataclass

Shape = tuple[str, str, tuple[float, ...]]

PAINTS = {
    "dark": (45, 42, 48),
    "light": (252, 252, 252),
    "skin": (244, 200, 160),
    "brown": (125, 78, 42),
    "glass": (176, 220, 240),
    "leaf": (60, 140, 60),
    "glow": (255, 240, 130),
    "beak": (245, 150, 30),
    "navy": (58, 66, 100),
    "gray": (150, 150, 155),
}


@dataclass(frozen=True)
class Pictogram:
    """`aspect` is width over height; `top` is where something can stand on it, as a fraction of its height."""

    aspect: float
    shapes: tuple[Shape, ...]
    top: float = 0.0


def _ellipse(role: str, *numbers: float) -> Shape:
    return ("ellipse", role, numbers)


def _box(role: str, *numbers: float) -> Shape:
    return ("box", role, numbers)


def _polygon(role: str, *numbers: float) -> Shape:
    return ("polygon", role, numbers)


def _line(role: str, *numbers: float) -> Shape:
    return ("line", role, numbers)


def _ring(role: str, *numbers: float) -> Shape:
    return ("ring", role, numbers)


def _man(waving: bool) -> tuple[Shape, ...]:
    hand = (0.04, 0.06) if waving else (0.04, 0.56)
    return (
        _line("skin", 0.1, 0.26, 0.3, *hand),
        _line("skin", 0.1, 0.66, 0.3, 0.96, 0.46),
        _box("navy", 0.22, 0.6, 0.44, 1),
        _box("navy", 0.48, 0.6, 0.7, 1),
        _box("fill", 0.18, 0.25, 0.74, 0.66),
        _ellipse("skin", 0.24, 0, 0.68, 0.27),
        _polygon("dark", 0.24, 0.09, 0.3, 0.02, 0.46, 0, 0.62, 0.02, 0.68, 0.09),
    )


def _woman(waving: bool) -> tuple[Shape, ...]:
    hand = (0.04, 0.06) if waving else (0.04, 0.5)
    return (
        _polygon("brown", 0.2, 0.36, 0.24, 0.04, 0.46, 0, 0.68, 0.04, 0.72, 0.36),
        _line("skin", 0.09, 0.36, 0.32, *hand),
        _line("skin", 0.09, 0.56, 0.32, 0.96, 0.46),
        _box("skin", 0.3, 0.82, 0.4, 1),
        _box("skin", 0.52, 0.82, 0.62, 1),
        _polygon("fill", 0.34, 0.27, 0.58, 0.27, 0.92, 0.86, 0.0, 0.86),
        _ellipse("skin", 0.29, 0.05, 0.63, 0.29),
    )


_DOG_HEAD = (
    _ellipse("fill", 0.58, 0.04, 0.94, 0.46),
    _box("fill", 0.8, 0.22, 1, 0.42),
    _polygon("dark", 0.6, 0.08, 0.7, 0.08, 0.66, 0.44, 0.54, 0.4),
    _ellipse("dark", 0.8, 0.12, 0.86, 0.2),
    _ellipse("dark", 0.93, 0.2, 1, 0.3),
)
# fmt: off
_CRESCENT = (
    0.0, 0.12, 0.1, 0.0, 0.22, 0.32, 0.42, 0.5, 0.66, 0.5, 0.86, 0.3, 0.92, 0.12, 1, 0.16,
    0.98, 0.5, 0.84, 0.82, 0.6, 1, 0.34, 0.96, 0.12, 0.66,
)
_DOME = (
    0, 0.52, 0.08, 0.26, 0.26, 0.08, 0.5, 0.0, 0.74, 0.08, 0.92, 0.26, 1, 0.52,
    0.83, 0.44, 0.67, 0.52, 0.5, 0.44, 0.33, 0.52, 0.17, 0.44,
)
# fmt: on
_BOX_FRONT = (_box("fill", 0.06, 0.24, 0.94, 1), _box("light", 0.42, 0.24, 0.58, 1))

PICTOGRAMS: dict[str, Pictogram] = {
    "man": Pictogram(0.55, _man(False)),
    "man waving": Pictogram(0.55, _man(True)),
    "woman": Pictogram(0.6, _woman(False)),
    "woman waving": Pictogram(0.6, _woman(True)),
    "baby": Pictogram(
        0.75,
        (
            _line("skin", 0.14, 0.3, 0.6, 0.05, 0.74),
            _line("skin", 0.14, 0.7, 0.6, 0.95, 0.74),
            _ellipse("skin", 0.18, 0.86, 0.42, 1),
            _ellipse("skin", 0.58, 0.86, 0.82, 1),
            _ellipse("fill", 0.2, 0.46, 0.8, 0.97),
            _ellipse("skin", 0.14, 0, 0.86, 0.54),
            _ellipse("dark", 0.3, 0.2, 0.4, 0.3),
            _ellipse("dark", 0.6, 0.2, 0.7, 0.3),
            _ellipse("beak", 0.42, 0.34, 0.58, 0.45),
        ),
    ),
    "dog": Pictogram(
        1.3,
        (
            _polygon("fill", 0.14, 0.5, 0, 0.12, 0.08, 0.08, 0.24, 0.42),
            _box("fill", 0.12, 0.6, 0.23, 1),
            _box("fill", 0.27, 0.6, 0.36, 1),
            _box("fill", 0.52, 0.6, 0.61, 1),
            _box("fill", 0.65, 0.6, 0.76, 1),
            _box("fill", 0.12, 0.38, 0.76, 0.74),
            *_DOG_HEAD,
        ),
    ),
    "dog sitting": Pictogram(
        0.85,
        (
            _polygon("fill", 0.2, 0.9, 0, 0.62, 0.06, 0.56, 0.3, 0.78),
            _polygon("fill", 0.62, 0.36, 0.86, 0.36, 0.86, 1, 0.14, 1, 0.2, 0.76),
            *_DOG_HEAD,
            _line("dark", 0.03, 0.66, 0.66, 0.66, 1),
        ),
    ),
    "cat": Pictogram(
        0.8,
        (
            _line("fill", 0.1, 0.78, 0.9, 0.94, 0.8, 0.94, 0.5),
            _ellipse("fill", 0.16, 0.4, 0.84, 1),
            _polygon("fill", 0.1, 0, 0.42, 0.14, 0.14, 0.36),
            _polygon("fill", 0.86, 0, 0.56, 0.14, 0.84, 0.36),
            _ellipse("fill", 0.1, 0.1, 0.86, 0.54),
            _ellipse("glow", 0.24, 0.22, 0.4, 0.36),
            _ellipse("glow", 0.56, 0.22, 0.72, 0.36),
            _ellipse("dark", 0.3, 0.24, 0.35, 0.35),
            _ellipse("dark", 0.61, 0.24, 0.66, 0.35),
            _line("gray", 0.02, 0.0, 0.4, 0.4, 0.43, 0.0, 0.48),
            _line("gray", 0.02, 1, 0.4, 0.58, 0.43, 1, 0.48),
        ),
    ),
    "cat sleeping": Pictogram(
        1.7,
        (
            _ellipse("fill", 0.0, 0.1, 0.9, 1),
            _polygon("fill", 0.54, 0.1, 0.66, 0.3, 0.52, 0.56),
            _polygon("fill", 0.98, 0.0, 0.84, 0.3, 0.98, 0.56),
            _ellipse("fill", 0.52, 0.24, 1, 0.9),
            _line("dark", 0.04, 0.6, 0.54, 0.7, 0.54),
            _line("dark", 0.04, 0.82, 0.54, 0.92, 0.54),
            _line("dark", 0.04, 0.1, 0.8, 0.3, 0.95, 0.55, 0.95),
        ),
    ),
    "bird": Pictogram(
        1.1,
        (
            _line("beak", 0.04, 0.4, 0.74, 0.4, 0.98, 0.52, 0.98),
            _line("beak", 0.04, 0.54, 0.74, 0.56, 0.98, 0.68, 0.98),
            _polygon("fill", 0, 0.3, 0.3, 0.45, 0.18, 0.66),
            _ellipse("fill", 0.12, 0.3, 0.76, 0.84),
            _polygon("beak", 0.86, 0.14, 1, 0.26, 0.84, 0.34),
            _ellipse("fill", 0.55, 0, 0.92, 0.48),
            _ellipse("dark", 0.74, 0.12, 0.82, 0.22),
            _polygon("gray", 0.22, 0.42, 0.56, 0.48, 0.3, 0.72),
        ),
    ),
    "bird flying": Pictogram(
        1.6,
        (
            _polygon("fill", 0.0, 0.1, 0.26, 0.0, 0.54, 0.6, 0.36, 0.66),
            _polygon("fill", 0.74, 0.0, 1, 0.06, 0.66, 0.66, 0.46, 0.6),
            _polygon("fill", 0.1, 0.74, 0.4, 0.66, 0.34, 0.9),
            _ellipse("fill", 0.28, 0.5, 0.74, 1),
            _polygon("beak", 0.8, 0.62, 0.98, 0.74, 0.8, 0.82),
            _ellipse("fill", 0.62, 0.46, 0.86, 0.88),
            _ellipse("dark", 0.74, 0.56, 0.79, 0.66),
        ),
    ),
    "fish": Pictogram(
        1.6,
        (
            _polygon("fill", 0.3, 0.2, 0.42, 0, 0.56, 0.2),
            _polygon("fill", 0.64, 0.5, 1, 0.08, 0.9, 0.5, 1, 0.92),
            _polygon("fill", 0.3, 0.8, 0.42, 1, 0.52, 0.8),
            _ellipse("fill", 0, 0.12, 0.76, 0.88),
            _ellipse("light", 0.1, 0.3, 0.24, 0.52),
            _ellipse("dark", 0.14, 0.36, 0.2, 0.46),
            _line("dark", 0.03, 0.3, 0.26, 0.36, 0.5, 0.3, 0.74),
        ),
    ),
    "table": Pictogram(
        1.5,
        (
            _box("fill", 0.08, 0.2, 0.2, 1),
            _box("fill", 0.8, 0.2, 0.92, 1),
            _box("fill", 0, 0, 1, 0.26),
        ),
    ),
    "chair": Pictogram(
        0.65,
        (
            _box("fill", 0.04, 0.5, 0.2, 1),
            _box("fill", 0.8, 0.5, 0.96, 1),
            _box("fill", 0, 0, 0.24, 0.56),
            _box("fill", 0, 0.48, 1, 0.66),
        ),
    ),
    "lamp": Pictogram(
        0.55,
        (
            _box("dark", 0.44, 0.4, 0.56, 0.95),
            _ellipse("dark", 0.16, 0.88, 0.84, 1),
            _polygon("fill", 0.26, 0, 0.74, 0, 1, 0.44, 0, 0.44),
        ),
    ),
    "lamp lit": Pictogram(
        0.55,
        (
            _polygon("glow", 0.1, 0.42, 0.9, 0.42, 1, 0.9, 0, 0.9),
            _box("dark", 0.44, 0.4, 0.56, 0.95),
            _ellipse("dark", 0.16, 0.88, 0.84, 1),
            _polygon("fill", 0.26, 0, 0.74, 0, 1, 0.44, 0, 0.44),
        ),
    ),
    "car": Pictogram(
        1.8,
        (
            _polygon("fill", 0.16, 0.46, 0.3, 0, 0.7, 0, 0.86, 0.46),
            _polygon("glass", 0.26, 0.42, 0.35, 0.1, 0.48, 0.1, 0.48, 0.42),
            _polygon("glass", 0.54, 0.42, 0.54, 0.1, 0.66, 0.1, 0.76, 0.42),
            _box("fill", 0, 0.42, 1, 0.82),
            _ellipse("dark", 0.1, 0.6, 0.34, 1),
            _ellipse("light", 0.17, 0.72, 0.27, 0.88),
            _ellipse("dark", 0.66, 0.6, 0.9, 1),
            _ellipse("light", 0.73, 0.72, 0.83, 0.88),
        ),
    ),
    "bus": Pictogram(
        1.6,
        (
            _box("fill", 0, 0, 1, 0.86),
            _box("glass", 0.06, 0.12, 0.22, 0.42),
            _box("glass", 0.28, 0.12, 0.44, 0.42),
            _box("glass", 0.5, 0.12, 0.66, 0.42),
            _box("glass", 0.76, 0.12, 0.94, 0.84),
            _ellipse("dark", 0.12, 0.7, 0.32, 1),
            _ellipse("dark", 0.54, 0.7, 0.74, 1),
        ),
    ),
    "boat": Pictogram(
        1.05,
        (
            _box("dark", 0.44, 0.02, 0.49, 0.7),
            _polygon("light", 0.52, 0, 0.94, 0.58, 0.52, 0.58),
            _polygon("light", 0.4, 0.12, 0.4, 0.58, 0.1, 0.58),
            _polygon("fill", 0, 0.62, 1, 0.62, 0.8, 1, 0.2, 1),
        ),
    ),
    "bicycle": Pictogram(
        1.55,
        (
            _ring("dark", 0.05, 0, 0.36, 0.42, 1),
            _ring("dark", 0.05, 0.58, 0.36, 1, 1),
            _line("fill", 0.11, 0.21, 0.68, 0.34, 0.28, 0.7, 0.28, 0.46, 0.7, 0.21, 0.68),
            _line("fill", 0.11, 0.79, 0.68, 0.68, 0.14),
            _line("fill", 0.11, 0.46, 0.7, 0.33, 0.2),
            _line("dark", 0.08, 0.24, 0.16, 0.42, 0.16),
            _line("dark", 0.08, 0.6, 0.04, 0.72, 0.06),
        ),
    ),
    "apple": Pictogram(
        0.95,
        (
            _ellipse("fill", 0, 0.22, 0.62, 1),
            _ellipse("fill", 0.38, 0.22, 1, 1),
            _ellipse("*fill", 0.12, 0.3, 0.88, 0.94),
            _line("brown", 0.07, 0.5, 0.34, 0.52, 0.04),
            _polygon("leaf", 0.54, 0.2, 0.7, 0, 0.94, 0.04, 0.78, 0.2),
        ),
    ),
    "banana": Pictogram(
        1.5,
        (
            _polygon("fill", *_CRESCENT),
            _polygon("brown", 0.0, 0.12, 0.1, 0.0, 0.14, 0.12, 0.03, 0.24),
            _line("brown", 0.03, 0.16, 0.5, 0.36, 0.74, 0.62, 0.76, 0.84, 0.56),
        ),
    ),
    "cake": Pictogram(
        1.15,
        (
            _box("beak", 0.27, 0.04, 0.33, 0.4),
            _box("beak", 0.47, 0.04, 0.53, 0.4),
            _box("beak", 0.67, 0.04, 0.73, 0.4),
            _ellipse("glow", 0.24, 0, 0.36, 0.16),
            _ellipse("glow", 0.44, 0, 0.56, 0.16),
            _ellipse("glow", 0.64, 0, 0.76, 0.16),
            _box("fill", 0.18, 0.32, 0.82, 0.64),
            _box("fill", 0, 0.62, 1, 1),
            _box("light", 0, 0.6, 1, 0.7),
            _box("light", 0.18, 0.3, 0.82, 0.38),
        ),
    ),
    "ball": Pictogram(
        1.0,
        (
            _ellipse("fill", 0, 0, 1, 1),
            _polygon("light", 0.5, 0.5, 0.32, 0.05, 0.68, 0.05),
            _polygon("light", 0.5, 0.5, 0.06, 0.68, 0.3, 0.94),
            _polygon("light", 0.5, 0.5, 0.94, 0.68, 0.7, 0.94),
        ),
    ),
    "kite": Pictogram(
        0.7,
        (
            _line("dark", 0.03, 0.5, 0.68, 0.36, 0.8, 0.6, 0.9, 0.46, 0.98),
            _polygon("beak", 0.28, 0.74, 0.46, 0.84, 0.46, 0.74, 0.28, 0.84),
            _polygon("beak", 0.5, 0.85, 0.7, 0.95, 0.7, 0.85, 0.5, 0.95),
            _polygon("fill", 0.5, 0, 1, 0.3, 0.5, 0.72, 0, 0.3),
            _line("dark", 0.03, 0.5, 0, 0.5, 0.72),
            _line("dark", 0.03, 0, 0.3, 1, 0.3),
            _box("dark", 0.46, 0.97, 0.54, 1),
        ),
    ),
    "balloon": Pictogram(
        0.6,
        (
            _line("dark", 0.04, 0.5, 0.6, 0.42, 0.74, 0.56, 0.88, 0.5, 0.99),
            _polygon("fill", 0.5, 0.58, 0.62, 0.7, 0.38, 0.7),
            _ellipse("fill", 0, 0, 1, 0.64),
            _ellipse("light", 0.22, 0.1, 0.4, 0.24),
            _box("dark", 0.44, 0.97, 0.56, 1),
        ),
    ),
    "tree": Pictogram(
        0.75,
        (
            _box("brown", 0.4, 0.55, 0.6, 1),
            _ellipse("fill", 0, 0.26, 0.58, 0.72),
            _ellipse("fill", 0.42, 0.26, 1, 0.72),
            _ellipse("fill", 0.18, 0, 0.82, 0.5),
            _ellipse("*fill", 0.2, 0.2, 0.8, 0.66),
        ),
    ),
    "house": Pictogram(
        1.0,
        (
            _box("fill", 0.1, 0.38, 0.9, 1),
            _polygon("brown", 0, 0.42, 0.5, 0, 1, 0.42),
            _box("dark", 0.56, 0.6, 0.76, 1),
            _box("glass", 0.2, 0.54, 0.44, 0.76),
        ),
        top=0.1,
    ),
    "flower": Pictogram(
        0.6,
        (
            _box("leaf", 0.45, 0.5, 0.55, 1),
            _polygon("leaf", 0.5, 0.94, 0.08, 0.7, 0.3, 0.68),
            _polygon("leaf", 0.5, 0.94, 0.92, 0.7, 0.7, 0.68),
            _ellipse("fill", 0.34, 0, 0.66, 0.26),
            _ellipse("fill", 0.34, 0.36, 0.66, 0.62),
            _ellipse("fill", 0, 0.1, 0.38, 0.32),
            _ellipse("fill", 0.62, 0.1, 1, 0.32),
            _ellipse("fill", 0, 0.3, 0.38, 0.52),
            _ellipse("fill", 0.62, 0.3, 1, 0.52),
            _ellipse("glow", 0.3, 0.18, 0.7, 0.44),
        ),
    ),
    "hat": Pictogram(
        1.6,
        (
            _polygon("fill", 0.26, 0.76, 0.3, 0.0, 0.7, 0.0, 0.74, 0.76),
            _box("dark", 0.26, 0.56, 0.74, 0.74),
            _ellipse("fill", 0, 0.7, 1, 1),
        ),
    ),
    "umbrella": Pictogram(
        1.0,
        (
            _line("brown", 0.06, 0.5, 0.06, 0.5, 0.96, 0.64, 0.97, 0.66, 0.86),
            _polygon("fill", *_DOME),
            _line("dark", 0.02, 0.5, 0.02, 0.33, 0.5),
            _line("dark", 0.02, 0.5, 0.02, 0.67, 0.5),
            _box("brown", 0.47, 0.96, 0.6, 1),
        ),
    ),
    "umbrella closed": Pictogram(
        0.3,
        (
            _line("brown", 0.16, 0.5, 0.02, 0.5, 0.94, 0.86, 0.95, 0.88, 0.84),
            _polygon("fill", 0.5, 0.04, 1, 0.68, 0.5, 0.76, 0, 0.68),
            _line("dark", 0.06, 0.5, 0.06, 0.36, 0.72),
            _line("dark", 0.06, 0.5, 0.06, 0.66, 0.72),
            _box("brown", 0.4, 0, 0.6, 0.06),
            _box("brown", 0.44, 0.95, 0.8, 1),
        ),
    ),
    "box": Pictogram(1.1, (*_BOX_FRONT, _box("fill", 0, 0, 1, 0.28), _box("light", 0.42, 0, 0.58, 0.28))),
    "box open": Pictogram(
        1.1,
        (
            _polygon("fill", 0.06, 0.26, 0, 0.0, 0.2, 0.04, 0.28, 0.26),
            _polygon("fill", 0.94, 0.26, 1, 0.0, 0.8, 0.04, 0.72, 0.26),
            *_BOX_FRONT,
        ),
        top=0.26,
    ),
    "cup": Pictogram(
        1.1,
        (
            _ring("fill", 0.1, 0.58, 0.24, 1, 0.76),
            _polygon("fill", 0, 0.08, 0.78, 0.08, 0.68, 1, 0.1, 1),
            _ellipse("dark", 0.0, 0, 0.78, 0.18),
        ),
        top=0.12,
    ),
}
