"""The reader on a database folder written by hand, and on the real one if it is installed."""

import json
from pathlib import Path

import pytest

from mmgic.descriptions.wordnet import WordNet
from mmgic.errors import InputError

LICENCE = "  1 This is the licence, which is indented.\n"
REAL = Path("/usr/share/wordnet")

# part -> (words, kind, numbers of the hypernyms in the same list, gloss) of each synset; the first word names it
SYNSETS = {
    "noun": [
        (["ballplayer", "baseball_player"], "n", [], "an athlete who plays baseball"),
        (["batter", "hitter"], "n", [0], "(baseball) a ballplayer who is batting"),
        (["mixture"], "n", [], "a substance of several others mixed"),
        (["batter"], "n", [2], 'a liquid mixture, as of flour, eggs, and milk, used in cooking; "pour the batter"'),
        (["furniture"], "n", [], "furnishings that make a room ready for occupancy"),
        (["table"], "n", [4], "a piece of furniture having a smooth flat top; usually with legs"),
        (["table"], "n", [4], "a piece of furniture with tableware laid out on it"),
    ],
    "verb": [(["bat"], "v", [], 'strike with a bat; "he batted well"; "she bats"')],
    "adj": [(["bare(a)", "Plain"], "a", [], "just barely adequate"), (["bare"], "s", [], "completely unclothed")],
    "adv": [(["well"], "r", [], "in a good manner")],
}
SENSES = {"noun": {"batter": [1, 3], "table": [5, 6]}, "adj": {"bare": [1, 0]}}


@pytest.fixture
def folder(tmp_path):
    for part, synsets in SYNSETS.items():
        kind = synsets[0][1]

        def line(i, offsets, synsets=synsets):
            words, kind, hypernyms, gloss = synsets[i]
            spelled = " ".join(f"{word} 0" for word in words)
            pointers = " ".join(
                [f"{len(hypernyms) + 1:03}", "+ 00000001 v 0101", *(f"@ {offsets[h]:08} n 0000" for h in hypernyms)]
            )
            return f"{offsets[i]:08} 05 {kind} {len(words):02x} {spelled} {pointers} | {gloss}  \n"

        lengths = [len(line(i, [0] * len(synsets))) for i in range(len(synsets))]
        offsets = [len(LICENCE) + sum(lengths[:i]) for i in range(len(synsets))]
        (tmp_path / f"data.{part}").write_text(LICENCE + "".join(line(i, offsets) for i in range(len(synsets))))
        senses = {}
        for i, (words, *_) in enumerate(synsets):
            for word in words:
                senses.setdefault(word.lower().removesuffix("(a)"), []).append(i)
        senses |= SENSES.get(part, {})
        index = "".join(
            f"{lemma} {kind} {len(ids)} 2 @ + {len(ids)} 1 {' '.join(f'{offsets[i]:08}' for i in ids)}  \n"
            for lemma, ids in sorted(senses.items())
        )
        (tmp_path / f"index.{part}").write_text(LICENCE + index)
    return tmp_path


def test_synsets_by_their_names(folder):
    wordnet = WordNet(folder)
    batter = wordnet.synset("batter.n.01")
    assert batter.words == ("batter", "hitter")
    assert batter.definition == "(baseball) a ballplayer who is batting"
    assert wordnet.definition("batter.n.02") == "a liquid mixture, as of flour, eggs, and milk, used in cooking"
    assert wordnet.definition("bat.v.01") == "strike with a bat"
    assert wordnet.definition("table.n.01") == "a piece of furniture having a smooth flat top; usually with legs"
    # named after its first word, and by that word's rank
    assert wordnet.synset("hitter.n.01").name == "batter.n.01"
    assert wordnet.synset("baseball_player.n.01").words == ("ballplayer", "baseball player")
    # satellites share the adjectives' ranks; the marks of syntax are no part of a word
    assert wordnet.synset("bare.s.01").definition == "completely unclothed"
    assert wordnet.synset("bare.a.02").words == ("bare", "Plain")
    assert wordnet.synset("plain.a.01").name == "bare.a.02"


@pytest.mark.parametrize(
    "name", ["batter.n.03", "batter.n.00", "batter.v.01", "batter.x.01", "batter", "", "a.n.x", "..", "n.01"]
)
def test_names_of_nothing(folder, name):
    assert WordNet(folder).synset(name) is None
    assert WordNet(folder).definition(name) == ""


def test_senses_are_told_apart_by_words_and_glosses(folder):
    wordnet = WordNet(folder)
    assert wordnet.sense_names("batter", ["batter.n.01", "batter.n.02"]) == {
        "batter.n.01": "batter (ballplayer)",
        "batter.n.02": "batter (mixture)",
    }
    # what a synset is called where it does not hold the label's word
    assert wordnet.sense_names("batter", ["ballplayer.n.01", "batter.n.02"])["ballplayer.n.01"] == "batter (ballplayer)"
    # both tables are furniture: no word tells them apart
    assert wordnet.sense_names("table", ["table.n.01", "table.n.02", "table.n.09"]) == {}
    assert wordnet.sense_names("bare", ["bare.s.01", "bare.a.02"]) == {
        "bare.s.01": "bare (completely unclothed)",
        "bare.a.02": "bare (plain)",
    }


def test_a_folder_that_is_no_wordnet(tmp_path, folder):
    with pytest.raises(InputError, match=r"is no WordNet folder .*set labels.wordnet"):
        WordNet(tmp_path / "none")
    (folder / "index.adv").unlink()
    with pytest.raises(InputError, match=r"index\.adv"):
        WordNet(folder)


@pytest.fixture(scope="module")
def real():
    if not (REAL / "data.noun").is_file():
        pytest.skip("needs WordNet 3.0, such as Debian's wordnet-base")
    return WordNet(REAL)


def test_the_real_batter(real):
    assert real.sense_names("batter", ["batter.n.01", "batter.n.02"]) == {
        "batter.n.01": "batter (ballplayer)",
        "batter.n.02": "batter (concoction)",
    }
    assert real.synset("gym_shoe.n.01").words == ("gym shoe", "sneaker", "tennis shoe")


def test_every_synset_of_visual_genomes_samples_is_found_under_its_name(real, shared):
    names = set()
    for path in sorted((shared / "data" / "visual_genome").rglob("*.json")):
        _collect(json.loads(path.read_text()), names)
    assert len(names) > 80
    found = {name: real.synset(name) for name in names}
    assert [name for name, synset in found.items() if synset is None or synset.name != name] == []
    assert all(synset.definition for synset in found.values())


def _collect(tree, names):
    if isinstance(tree, dict):
        names.update(tree.get("synsets", []))
        for value in tree.values():
            _collect(value, names)
    elif isinstance(tree, list):
        for value in tree:
            _collect(value, names)
