"""COCO captioning: both forms of references, and files that do not match."""

import json

import pytest

from mmgic.errors import InputError
from mmgic.evaluation.benchmark import Item
from mmgic.evaluation.benchmarks.coco_captions import read
from mmgic.evaluation.scoring import score_files

REFERENCES = {
    1: ["A man riding a horse on a beach.", "a person rides a brown horse."],
    2: ["Two dogs play in the grass", "dogs are playing (outside) in green grass!"],
}
CAPTIONS = {1: "a man riding a horse", 2: "two dogs playing in the grass."}


def write(folder, captions, references=REFERENCES):
    predictions, annotations = folder / "results.json", folder / "captions.json"
    predictions.write_text(json.dumps([{"image_id": i, "caption": c} for i, c in captions]))
    records = [{"image_id": i, "caption": c} for i, texts in references.items() for c in texts]
    annotations.write_text(json.dumps({"images": [{"id": i} for i in references], "annotations": records}))
    return str(predictions), str(annotations)


def cider(predictions, annotations):
    return score_files("coco_captions", [predictions], [annotations])[0].scores["CIDEr"].raw


def karpathy(folder, split="test"):
    images = [
        {"filename": f"COCO_val2014_{i}.jpg", "cocoid": i, "split": split, "sentences": [{"raw": t} for t in texts]}
        for i, texts in REFERENCES.items()
    ]
    images.insert(1, {"filename": "other.jpg", "cocoid": 7, "split": "restval", "sentences": [{"raw": "a cat"}]})
    (folder / "dataset_coco.json").write_text(json.dumps({"images": images, "dataset": "coco"}))
    return str(folder / "dataset_coco.json")


def test_order_of_predictions_does_not_matter(tmp_path):
    assert cider(*write(tmp_path, CAPTIONS.items())) == pytest.approx(3.4213853360, abs=1e-10)
    result = score_files("coco_captions", *([path] for path in write(tmp_path, reversed(CAPTIONS.items()))))[0]
    assert result.scores["CIDEr"].raw == pytest.approx(3.4213853360, abs=1e-10)
    assert (result.parts[0].items, result.scores["references"].raw) == (2, 4)


def test_karpathys_test_split_gives_the_same_score(tmp_path):
    predictions, _ = write(tmp_path, CAPTIONS.items())
    assert cider(predictions, karpathy(tmp_path)) == pytest.approx(3.4213853360, abs=1e-10)
    assert read([karpathy(tmp_path)])[""][0] == Item(
        1, "image_caption", images=("COCO_val2014_1.jpg",), target=tuple(REFERENCES[1])
    )
    with pytest.raises(InputError, match="no image whose split is test"):
        read([karpathy(tmp_path, split="val")])


@pytest.mark.parametrize(
    ("captions", "message"),
    [
        ([(1, "a")], r"has none to 1 \(2\)"),
        ([(1, "a"), (2, "b"), (7, "c")], r"answers to 1 \(7\) that the benchmark does not have"),
        ([(1, "a"), (2, "b"), (2, "c")], r"more than one answer to 1 \(2\)"),
        ([(1, "a"), (2, None)], "'caption' has the wrong type"),
        ([], "holds no records"),
    ],
)
def test_faulty_predictions_are_named(tmp_path, captions, message):
    with pytest.raises(InputError, match=message):
        cider(*write(tmp_path, captions))


def test_faulty_files_are_named(tmp_path):
    predictions, annotations = write(tmp_path, CAPTIONS.items())
    with pytest.raises(InputError, match="cannot read"):
        cider(str(tmp_path / "absent.json"), annotations)
    with pytest.raises(InputError, match="no COCO captions file"):
        cider(predictions, predictions)
    with pytest.raises(InputError, match="one file of references, not 2"):
        read([annotations, annotations])
    (tmp_path / "results.json").write_text((tmp_path / "results.json").read_text()[:-5])
    with pytest.raises(InputError, match="cut short"):
        cider(predictions, annotations)
