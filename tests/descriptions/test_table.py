"""Labels described through the toy language model's server, reviewed by a person, and read back."""

import csv
import json
import multiprocessing
import os
import time
from dataclasses import replace

import pytest

from mmgic.cleaning.labels import LabelCounts, kept_labels
from mmgic.cleaning.senses import load_names, propose_names
from mmgic.descriptions.labels import Concept
from mmgic.descriptions.reading import load_descriptions
from mmgic.descriptions.table import Entry, describe, status_table, write_table
from mmgic.descriptions.wordnet import WordNet
from mmgic.errors import InputError
from mmgic.language_model.client import LanguageModel
from mmgic.settings import CleaningSettings, LanguageModelSettings, SourceSettings
from mmgic.toy.models.language_model_server import MODEL, serve

CONCEPTS = [
    Concept("vg", "object", "dog", 3, synset="dog.n.01"),
    Concept("vg", "object", "to the left of", 2),
    Concept("oi", "object", "dog", 1),
    Concept("oi", "object", "Gondola", 1),
    Concept("vg", "attribute", "striped", 4, ("dog", "cat")),
    Concept("vg", "relationship", "on", 5, ("[cup, table]",)),
    Concept("v3det", "object", "dog", 9),
]
GIVEN = {("v3det", "object", "dog"): "A pet \n of V3Det."}
DOG = 'In the toy world, "dog" is this: A four-legged pet with hanging ears, a snout and a raised tail.'


def cells(path):
    with path.open(newline="") as file:
        return list(csv.reader(file, "excel-tab"))


def decide(path, verdicts):
    """Fills in the last two columns as a person does with a spreadsheet; `verdicts` by the first three."""
    rows = [[*row[:-2], *verdicts.get(tuple(row[:3]), row[-2:])] for row in cells(path)]
    with path.open("w", newline="") as file:
        csv.writer(file, "excel-tab").writerows(rows)


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Describes CONCEPTS; returns the entries by (source, kind, label) and how many requests it took."""
    review = tmp_path / "review.tsv"
    settings = LanguageModelSettings(model=MODEL, cache=str(tmp_path / "answers.sqlite"), retries=0)

    def run(concepts=CONCEPTS, **changes):
        with serve() as server:
            monkeypatch.setenv("OPENAI_API_KEY", server.token)
            model = LanguageModel(replace(settings, base_url=server.base_url, **changes), "labels")
            entries = describe(
                concepts, model, str(review), frozenset({"vg"}), GIVEN, define=lambda synset: f"<{synset}>"
            )
            return {(e.source, e.kind, e.label): e for e in entries}, len(server.asked)

    run.review = review
    return run


def test_labels_are_described_once_and_written_for_review(asked):
    entries, requests = asked()
    assert requests == 6  # all but what V3Det describes itself
    assert entries["vg", "object", "dog"] == Entry("vg", "object", "dog", "described", DOG)
    assert entries["oi", "object", "dog"].description == DOG
    invalid = entries["vg", "object", "to the left of"]
    assert (invalid.status, invalid.description) == ("invalid", "")
    assert invalid.reason == 'The toy world has no object called "to the left of".'
    assert entries["oi", "object", "Gondola"].status == "described"  # clean labels are never invalid
    assert entries["v3det", "object", "dog"] == Entry(
        "v3det", "object", "dog", "described", "A pet of V3Det.", "", "dataset"
    )
    assert [e.status for e in entries.values()].count("described") == 6

    rows = cells(asked.review)
    assert rows[1] == ["vg", "object", "dog", "3", "<dog.n.01>", "described", DOG, "", ""]
    assert len(rows) == 1 + 6
    assert asked() == (entries, 0)
    assert cells(asked.review) == rows


def test_a_persons_verdict_wins_at_every_later_run(asked):
    asked()
    decide(
        asked.review,
        {
            ("vg", "object", "dog"): ["edit", "A loyal pet."],
            ("vg", "object", "to the left of"): ["reject", ""],
            ("oi", "object", "dog"): ["accept", ""],
            ("oi", "object", "Gondola"): ["edit", "Invalid. A boat is meant."],
        },
    )
    written = asked.review.read_bytes()

    more = [*CONCEPTS, Concept("vg", "object", "cat", 1)]
    # another temperature: the model is asked again, and what it says now loses against the person
    entries, requests = asked(more, temperature=0.5)
    assert requests == 7
    assert entries["vg", "object", "dog"] == Entry("vg", "object", "dog", "described", "A loyal pet.", "", "person")
    assert entries["vg", "object", "to the left of"].status == "rejected"
    assert entries["oi", "object", "dog"] == Entry("oi", "object", "dog", "described", DOG, "", "person")
    assert entries["oi", "object", "Gondola"].status == "invalid"
    assert entries["oi", "object", "Gondola"].reason == "A boat is meant."
    assert asked.review.read_bytes().startswith(written)
    assert asked.review.read_bytes()[len(written) :].startswith(b"vg\tobject\tcat\t1\t\tdescribed")


def test_a_broken_review_file_is_told_before_anything_is_asked(asked):
    asked.review.write_text("source\tkind\n")
    with pytest.raises(InputError, match=r"review\.tsv, line 1"):
        asked()


def test_a_failed_request_is_not_put_up_for_review(tmp_path):
    settings = LanguageModelSettings(
        base_url="http://127.0.0.1:9/v1", model=MODEL, cache=str(tmp_path / "a.sqlite"), retries=0
    )
    (entry,) = describe(CONCEPTS[:1], LanguageModel(settings, "labels"), str(tmp_path / "review.tsv"))
    assert entry.status == "unusable"
    assert entry.reason.startswith("the request failed")
    assert not (tmp_path / "review.tsv").exists()


def test_the_table_is_what_documents_and_cleaning_read(asked, tmp_path):
    entries, _ = asked()
    path = tmp_path / "descriptions.jsonl"
    write_table(str(path), entries.values())
    descriptions = load_descriptions(path)
    assert descriptions.objects == {}
    assert descriptions.of("vg").objects == {"dog": DOG}
    assert descriptions.of("vg").invalid == {("object", "to the left of")}
    assert descriptions.of("oi").invalid == frozenset()
    assert descriptions.of("v3det").objects == {"dog": "A pet of V3Det."}
    assert set(descriptions.of("vg").relationships) == {"on"}
    table = status_table(entries.values()).splitlines()
    assert table[0].split() == ["source", "kind", "labels", "described", "invalid", "unusable", "rejected"]
    assert table[1].split() == ["vg", "object", "2", "1", "1", "0", "0"]


def describe_things(base_url, folder):
    """Describes 40 labels with 4 requests at once into `folder`."""
    cache = str(folder / "answers.sqlite")
    model = LanguageModel(LanguageModelSettings(base_url=base_url, model=MODEL, concurrency=4, cache=cache), "labels")
    concepts = [Concept("vg", "object", f"thing {i}", 1) for i in range(40)]
    write_table(str(folder / "table.jsonl"), describe(concepts, model, str(folder / "review.tsv"), frozenset({"vg"})))


def test_a_killed_run_goes_on_and_pays_for_nothing_twice(tmp_path, monkeypatch):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    killed.mkdir()
    whole.mkdir()
    with serve(seconds=lambda: 0.1) as server:
        monkeypatch.setenv("OPENAI_API_KEY", server.token)
        process = multiprocessing.get_context("fork").Process(target=describe_things, args=(server.base_url, killed))
        process.start()
        while len(server.asked) < 17:
            time.sleep(0.01)
        process.kill()
        process.join()
        assert not (killed / "table.jsonl").exists()
        time.sleep(0.3)
        before = len(server.asked)
        describe_things(server.base_url, killed)
        again = len(server.asked) - before
        # at most the requests in flight were made again
        assert before < 40
        assert 40 - before <= again <= 40 - before + 4
        describe_things(server.base_url, whole)
        assert len(server.asked) == before + again + 40
    for name in ("table.jsonl", "review.tsv"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()


def test_names_of_senses_are_proposed_reviewed_and_used(tmp_path):
    folder = "/usr/share/wordnet"
    if not os.path.isfile(f"{folder}/data.noun"):
        pytest.skip("needs WordNet 3.0")
    source = SourceSettings(name="vg", format="visual_genome", min_label_count=2)
    counts = LabelCounts(
        {
            ("batter", "batter.n.01"): 5,
            ("batter", "batter.n.02"): 3,
            ("batter", ""): 1,
            ("dog", "dog.n.01"): 9,
            ("dog", "dog.n.03"): 1,  # rare: the label keeps one sense
            ("table", "table.n.02"): 4,
            ("table", "table.n.03"): 2,
        }
    )
    kept = kept_labels(counts, source, CleaningSettings())
    path = tmp_path / "names.tsv"
    assert propose_names(str(path), {"vg": counts}, {"vg": kept}, WordNet(folder)) == 4
    assert load_names("") == {}
    names = load_names(str(path))["vg"]
    assert names["batter", "batter.n.01"] == "batter (ballplayer)"
    assert len(set(names.values())) == 4
    used = kept_labels(counts, source, CleaningSettings(), names)
    assert used.objects["batter", "batter.n.02"] == ("batter (concoction)", "batter.n.02")
    assert used.objects["batter", ""] == ("batter (ballplayer)", "batter.n.01")
    assert used.objects["dog", "dog.n.01"] == ("dog", "dog.n.01")

    decide(
        path,
        {
            ("vg", "batter", "batter.n.01"): ["edit", "batter (baseball)"],
            ("vg", "batter", "batter.n.02"): ["reject", ""],
        },
    )
    names = load_names(str(path))["vg"]
    assert names["batter", "batter.n.01"] == "batter (baseball)"
    assert names["batter", "batter.n.02"] == "batter"
    with pytest.raises(InputError, match="there is no review file"):
        load_names(str(tmp_path / "none.tsv"))


def test_descriptions_of_all_sources_and_of_one(tmp_path):
    lines = [
        {"kind": "object", "label": "dog", "description": "a pet"},
        {"kind": "object", "label": "bank", "description": "a house of money"},
        {"kind": "object", "label": "man the", "status": "invalid", "reason": "no noun"},
        {"source": "vg", "kind": "object", "label": "bank", "status": "described", "description": "a river's side"},
        {"source": "vg", "kind": "object", "label": "dog", "status": "invalid"},
        {"source": "oi", "kind": "attribute", "label": "red", "status": "rejected"},
    ]
    path = tmp_path / "descriptions.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = load_descriptions(path)
    assert found.of("other") is found
    assert found.objects == {"dog": "a pet", "bank": "a house of money"}
    assert found.of("vg").objects == {"bank": "a river's side"}
    assert found.of("vg").invalid == {("object", "dog"), ("object", "man the")}
    assert found.of("oi").objects == found.objects
    assert found.of("oi").attributes == {}
    path.write_text(json.dumps({**lines[0], "source": 3}))
    with pytest.raises(InputError, match="line 1: 'source' must be the name of a source"):
        load_descriptions(path)
    path.write_text(json.dumps({**lines[0], "status": "good"}))
    with pytest.raises(InputError, match="line 1: 'status' must be one of described, invalid"):
        load_descriptions(path)
