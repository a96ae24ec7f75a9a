"""The four template forms against texts written by hand from Figure 1 and Tables 23 and 24."""

import pytest

from mmgic.descriptions.reading import Descriptions
from mmgic.documents.template import REGIONS_HEADING, ImageSlot, image_part, region_part, to_text

FIGURE_1 = {
    "caption": "a woman holding a baby in a chair at the beach.",
    "narrative": "",
    "objects": [
        {"object_id": "1", "label": "woman"},
        {"object_id": "2", "label": "sunglasses"},
        {"object_id": "3", "label": "baby"},
        {"object_id": "4", "label": "woman"},
    ],
    "attributes": [
        {"object_id": "1", "label": "sitting"},
        {"object_id": "3", "label": "sitting"},
        {"object_id": "4", "label": "sitting"},
    ],
    "relationships": [
        {"subject_id": "1", "label": "wears", "object_id": "2"},
        {"subject_id": "4", "label": "wears", "object_id": "2"},
        {"subject_id": "1", "label": "holds", "object_id": "3"},
    ],
}
REGIONS = [
    {"location": "Bottom Right", "labels": ["baby"]},
    {"location": "Top Middle", "labels": ["sunglasses", "woman", "sunglasses"]},
]
DESCRIPTIONS = Descriptions(
    {"sunglasses": "protective eyewear", "woman": "an adult female person"},
    {"sitting": "weight supported by the buttocks"},
    {"wears": "the subject carries the object"},
)


def fill(order, descriptions, recipe="CLDR", row=FIGURE_1, regions=REGIONS):
    segments = image_part(row, order, recipe, descriptions)
    if regions:
        segments.append(REGIONS_HEADING)
        for index, region in enumerate(regions, 1):
            segments += region_part(region, index, order)
    return segments


def test_image_first_with_descriptions():
    assert (
        to_text(fill("image_first", DESCRIPTIONS))
        == """\
# Detailed Analysis of Objects in the Image

Image: [IMG]
Caption: a woman holding a baby in a chair at the beach.
Objects and their descriptions:
- woman: an adult female person
- sunglasses: protective eyewear
- baby
Attributes of objects and their descriptions:
- sitting {woman, baby}: weight supported by the buttocks
Relationships between objects and their descriptions:
- wears {woman-sunglasses}: the subject carries the object
- holds {woman-baby}
## Overview of Selected Object Regions

### Overview of a Selected Object Region
Region: [IMG]
Location of the selected region in the image: Bottom Right
Objects:
- baby

### Overview of a Selected Object Region
Region: [IMG]
Location of the selected region in the image: Top Middle
Objects:
- sunglasses
- woman"""
    )


def test_image_first_without_descriptions():
    row = {**FIGURE_1, "narrative": "In this image\nI can see a woman."}
    assert (
        to_text(fill("image_first", None, row=row, regions=REGIONS[:1]))
        == """\
# Detailed Analysis of Objects in the Image

Image: [IMG]
Caption: a woman holding a baby in a chair at the beach.
Localized narrative caption: In this image I can see a woman.
Objects:
- woman
- sunglasses
- baby
Attributes of objects:
- sitting {woman, baby}
Relationships between objects:
- wears {woman-sunglasses}
- holds {woman-baby}
## Overview of Selected Object Regions

### Overview of a Selected Object Region
Region: [IMG]
Location of the selected region in the image: Bottom Right
Objects:
- baby"""
    )


def test_text_first_with_descriptions():
    row = {**FIGURE_1, "narrative": "In this image I can see a woman."}
    assert (
        to_text(fill("text_first", DESCRIPTIONS, row=row))
        == """\
# Detailed Analysis of Objects in the Image

Objects and their descriptions:
- woman: an adult female person
- sunglasses: protective eyewear
- baby
Attributes of objects and their descriptions:
- sitting {woman, baby}: weight supported by the buttocks
Relationships between objects and their descriptions:
- wears {woman-sunglasses}: the subject carries the object
- holds {woman-baby}
Caption: a woman holding a baby in a chair at the beach.
Localized narrative caption: In this image I can see a woman.
Image: [IMG]
## Overview of Selected Object Regions

### Overview of a Selected Object Region
Location of the selected region in the image: Bottom Right
Objects:
- baby
Region: [IMG]

### Overview of a Selected Object Region
Location of the selected region in the image: Top Middle
Objects:
- sunglasses
- woman
Region: [IMG]"""
    )


def test_text_first_without_descriptions():
    row = {**FIGURE_1, "attributes": [], "relationships": []}
    assert (
        to_text(fill("text_first", None, row=row, regions=[]))
        == """\
# Detailed Analysis of Objects in the Image

Objects:
- woman
- sunglasses
- baby
Caption: a woman holding a baby in a chair at the beach.
Image: [IMG]"""
    )


def test_recipes_decide_which_parts_are_there():
    title = "# Detailed Analysis of Objects in the Image\n\n"
    caption = "Caption: a woman holding a baby in a chair at the beach."
    assert to_text(fill("image_first", DESCRIPTIONS, "C", regions=[])) == f"{title}Image: [IMG]\n{caption}"
    assert to_text(fill("text_first", DESCRIPTIONS, "C", regions=[])) == f"{title}{caption}\nImage: [IMG]"
    labels_only = to_text(fill("image_first", DESCRIPTIONS, "CL", regions=[]))
    assert "Objects:\n- woman\n- sunglasses\n- baby\nAttributes of objects:" in labels_only
    assert caption in labels_only
    assert "Objects and their descriptions:" in to_text(fill("image_first", DESCRIPTIONS, "CLD", regions=[]))
    fine_grained = to_text(fill("image_first", DESCRIPTIONS, "LDR"))
    assert "Caption" not in fine_grained
    assert "Objects and their descriptions:" in fine_grained


def test_a_caption_that_says_img_is_no_slot():
    row = {**FIGURE_1, "caption": "a sign that reads [IMG]"}
    segments = fill("image_first", None, row=row)
    assert [s.index for s in segments if isinstance(s, ImageSlot)] == [0, 1, 2]
    assert any("a sign that reads [IMG]" in s for s in segments if isinstance(s, str))


@pytest.mark.parametrize("order", ["image_first", "text_first"])
@pytest.mark.parametrize("recipe", ["C", "CL", "CLD", "CLDR", "LDR", "COD"])
def test_each_recipe_holds_its_parts_and_no_other(recipe, order):
    text = to_text(image_part(FIGURE_1, order, recipe, DESCRIPTIONS if "D" in recipe else None))
    assert ("Caption: a woman holding" in text) == ("C" in recipe)
    assert ("- sunglasses" in text) == bool({"L", "O"} & set(recipe))
    assert ("- sitting {woman, baby}" in text) == ("- wears {woman-sunglasses}" in text) == ("L" in recipe)
    assert ("- sunglasses: protective eyewear" in text) == ("D" in recipe)
    assert ("Objects and their descriptions:" in text) == ("D" in recipe)
    assert text.count("[IMG]") == 1


def test_localized_narratives_stand_beside_the_caption():
    row = {**FIGURE_1, "narrative": "In this image\nthere is a woman."}
    lines = "Caption: a woman holding a baby in a chair at the beach.\n"
    lines += "Localized narrative caption: In this image there is a woman."
    assert to_text(image_part(row, "image_first", "C", None)).endswith(f"Image: [IMG]\n{lines}")
    assert to_text(image_part(row, "text_first", "C", None)).endswith(f"{lines}\nImage: [IMG]")
