import re

import pytest

from mmgic.descriptions import KINDS
from mmgic.descriptions.labels import LabelUses, count_uses
from mmgic.descriptions.prompts import WORDS, label_prompt


def row(source="vg", keep=True, objects=(), attributes=(), relationships=()):
    return {
        "source": source,
        "keep": keep,
        "objects": [{"object_id": i, "label": label, "synset": synset} for i, label, synset in objects],
        "attributes": [{"object_id": i, "label": label} for i, label in attributes],
        "relationships": [{"subject_id": s, "label": label, "object_id": o} for s, label, o in relationships],
    }


ROWS = [
    row(
        objects=[("1", "dog", "dog.n.01"), ("2", "mat", "mat.n.01"), ("3", "cat", "cat.n.01")],
        attributes=[("1", "brown"), ("3", "brown"), ("3", "asleep")],
        relationships=[("1", "on", "2"), ("3", "on", "2")],
    ),
    row(
        objects=[("1", "dog", "dog.n.03"), ("2", "dog", "dog.n.01")],
        attributes=[("1", "brown")],
        relationships=[("1", "chases", "2")],
    ),
    row("oi", objects=[("1", "Dog", ""), ("2", "Table", "")], relationships=[("1", "on", "2")]),
    row("oi", keep=False, objects=[("1", "Ghost", "")]),
]


def test_the_concepts_of_a_dataset_with_what_they_occur_beside():
    concepts = count_uses(ROWS).concepts(related=1)
    told = {(c.source, c.kind, c.label): (c.count, c.related, c.synset) for c in concepts}
    assert told == {
        ("oi", "object", "Dog"): (1, (), ""),
        ("oi", "object", "Table"): (1, (), ""),
        ("vg", "object", "cat"): (1, (), "cat.n.01"),
        ("vg", "object", "dog"): (3, (), "dog.n.01"),
        ("vg", "object", "mat"): (1, (), "mat.n.01"),
        ("vg", "attribute", "asleep"): (1, ("cat",), ""),
        ("vg", "attribute", "brown"): (3, ("dog",), ""),  # two dogs, one cat
        ("oi", "relationship", "on"): (1, ("[Dog, Table]",), ""),
        ("vg", "relationship", "chases"): (1, ("[dog, dog]",), ""),
        ("vg", "relationship", "on"): (2, ("[cat, mat]",), ""),  # of equals the first by name
    }
    assert [c.label for c in concepts[:4]] == ["Dog", "Table", "on", "cat"]  # by source, kind and label


def test_batches_add_up_whatever_their_cut():
    whole = count_uses(ROWS).concepts(5)
    parts = LabelUses()
    for one in reversed(ROWS):
        parts += count_uses([one])
    assert parts.concepts(5) == whole


@pytest.mark.parametrize("kind", KINDS)
def test_only_noisy_labels_may_be_invalid(kind):
    clean, noisy = (label_prompt(kind, "red", (), noisy).system for noisy in (False, True))
    assert "nvalid" not in clean
    assert 'write "Invalid."' in noisy
    assert "Description: Invalid. " in noisy
    # every example of the clean form is in the noisy one
    assert set(re.findall(r"^Description: .*$", clean, re.MULTILINE)) < set(
        re.findall(r"^Description: .*$", noisy, re.MULTILINE)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_examples_are_about_as_long_as_what_is_asked_for(kind):
    system = label_prompt(kind, "red").system
    examples = [text for text in re.findall(r"^Description: (.*)$", system, re.MULTILINE) if text[:3] != "the"]
    assert len(examples) == 3
    assert all(abs(len(text.split()) - WORDS) <= 5 for text in examples)
    assert [f"\n{n}. " in system for n in range(1, 6)] == [True] * 5
    assert [f"\n   {n}. " in system for n in range(1, 5)] == [True] * 4


def test_the_user_prompt_names_the_label_and_what_goes_with_it():
    assert label_prompt("object", "traffic\nlight").user.endswith("\n\nObject label: traffic light\nDescription:")
    assert label_prompt("attribute", "red", ("car", "apple")).user.endswith(
        "Attribute label: red\nRelated object labels: car, apple\nDescription:"
    )
    assert label_prompt("relationship", "on", ("[cup, table]", "[cat, mat]")).user.endswith(
        "Relationship label: on\nRelated subject-object pairs: [cup, table], [cat, mat]\nDescription:"
    )
    assert "about 50 words" in label_prompt("object", "x").user
