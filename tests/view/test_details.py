"""Marks over a picture."""

import re

from mmgic.view.details import marks

REGION = {"x": 0.25, "y": 0.5, "side": 0.5, "labels": ["<b>", "dog"]}
OBJECT = {"x": 90.0, "y": 0.0, "w": 10.0, "h": 20.0, "label": "cat"}
ROW = {"width": 100, "height": 50, "regions": [REGION], "objects": [OBJECT]}


def test_labels_stay_inside_the_picture_and_have_a_rim() -> None:
    for kind, label in (("regions", "&lt;b&gt;, dog"), ("objects", "cat")):
        drawn = marks(ROW, 200, 100, kind)
        [(x, y, anchor, text)] = re.findall(
            r'<text x="([\d.]+)" y="([\d.]+)".*?text-anchor="(\w+)".*?>(.*?)</text>', drawn
        )
        assert text == label
        assert (anchor == "end") == (kind == "objects")
        assert 0 < float(x) < 200
        assert 0 < float(y) < 100
        assert "paint-order:stroke" in drawn
        assert drawn.count("<rect") == 2
    assert 'x="180.0" y="0.0" width="20.0" height="40.0"' in marks(ROW, 200, 100, "objects")
    assert 'x="50.0" y="50.0" width="100.0" height="50.0"' in marks(ROW, 200, 100, "regions")


def test_rows_without_boxes_have_no_marks() -> None:
    assert marks({}, 10, 10, "regions") == marks({}, 10, 10, "objects") == ""
