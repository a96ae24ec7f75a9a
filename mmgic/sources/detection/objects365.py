"""Objects365's category names with their typing errors corrected; `mmgic.sources.detection.coco` reads v1 and v2."""

from __future__ import annotations

CATEGORIES = 365  # a list of so many is taken for Objects365's: what is a typing error here may be a name elsewhere

# as the files spell it, in lower case -> what was meant; v1 writes its names in lower case
_CORRECTIONS = {
    "moniter/tv": "Monitor/TV",
    "bakset": "Basket",
    "dinning table": "Dining Table",
    "tea pot": "Teapot",
    "extention cord": "Extension Cord",
    "hotair ballon": "Hot Air Balloon",
    "hotair balloon": "Hot Air Balloon",
    "hamimelon": "Hami Melon",
    "pine apple": "Pineapple",
    "head phone": "Headphone",
    "mushroon": "Mushroom",
    "tape measur/ ruler": "Tape Measure/Ruler",
    "campel": "Camel",
    "meat ball": "Meatball",
    "buttefly": "Butterfly",
    "table teniis paddle": "Table Tennis Paddle",
    "noddles": "Noodles",
    "french": "French Horn",
}


def corrected_name(name: str) -> str:
    """The category name as it was meant, in lower case where the name is; any other name as it is."""
    meant = _CORRECTIONS.get(name.lower(), name)
    return meant.lower() if name.islower() else meant
