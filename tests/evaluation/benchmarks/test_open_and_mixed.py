"""HallusionBench, MMMU, MathVista and NoCaps: official readings, several numbers, and their authors' files."""

from __future__ import annotations

import json

import pytest

from mmgic.errors import InputError
from mmgic.evaluation.benchmark import Item
from mmgic.evaluation.benchmarks import (
    gqa,
    hallusion_bench,
    math_vista,
    mmbench,
    mmmu,
    nocaps,
    q_bench,
    scienceqa,
    seed_bench,
    vizwiz,
)
from mmgic.evaluation.scorers.cider import score_captions
from tests.evaluation.benchmarks.conftest import raw, score_records


def hallusion(category, figure, question, right, image=True):
    names = ("category", "subcategory", "visual_input", "set_id", "figure_id", "question_id")
    values = (category, "ocr", "1" if image else "0", "0", figure, question)
    return Item("_".join(values), "open_vqa", "?", images=("a.png",) if image else (), target=(right,),
                metadata=dict(zip(names, values, strict=True)))  # fmt: skip


def test_hallusion_counts_questions_figures_and_questions_over_figures():
    items = [
        hallusion("VS", "1", "0", "yes"), hallusion("VS", "1", "1", "no"),
        hallusion("VS", "2", "0", "yes"), hallusion("VS", "0", "0", "yes", image=False),
    ]  # fmt: skip
    found = raw(hallusion_bench.score(items, ["Yes", "Yes, it is", "yes", "I cannot tell"]))
    assert (found["aAcc"], found["fAcc"], found["qAcc"]) == (pytest.approx(2 / 3), 0.5, 0.5)
    assert found["mean of the three"] == pytest.approx((2 / 3 + 0.5 + 0.5) / 3)
    # without its figure, a VS question may be left open, and it is no figure's
    assert (found["aAcc, all questions"], found["fAcc, all questions"], found["qAcc, all questions"]) == (
        0.75,
        0.5,
        0.5,
    )
    assert (found["questions with an image"], found["all questions"]) == (3, 4)


@pytest.mark.parametrize(("answer", "read"), [("Yes.", "yes"), ("no", "no"), ("yes and no", ""), ("not", ""), ("", "")])
def test_hallusion_reads_the_only_yes_or_no(answer, read):
    assert hallusion_bench.says(answer) == read


def test_hallusion_takes_the_authors_form_with_or_without_text_questions(example_files, tmp_path):
    files = example_files("hallusion_bench")
    items = hallusion_bench.read(files)[""]
    records = [
        {**{key: item.metadata[key] for key in hallusion_bench.KEYS}, "model_prediction": item.target[0]}
        for item in items
    ]
    assert score_records("hallusion_bench", files, records, tmp_path)["qAcc, all questions"] == 1
    shown = [record for record in records if record["visual_input"] != "0"]
    found = score_records("hallusion_bench", files, shown, tmp_path)
    assert found["mean of the three"] == 1
    assert "all questions" not in found


@pytest.mark.parametrize(
    ("answer", "option"),
    [("(B)", "B"), ("B", "B"), ("B.", "B"), ("(A) or (C)", "C"), ("A, no, C", "C"), ("C. a cat", ""), ("**C**", ""),
     ("[B]", ""), ("it must be the old blue thing", "B"), ("blue", "")],
)  # fmt: skip
def test_mmmu_reads_choices_as_its_authors_do(answer, option):
    assert mmmu.read_option(answer, tuple("ABC"), ("a cat", "blue", "two")) == option


@pytest.mark.parametrize(
    ("answer", "target", "right"),
    [("The answer is 3.", "3", True), ("so x = 1,200.5", "1200.5", True), ("0.333", "0.33", True), ("4", "3", False),
     ("Therefore it is Paris", "paris", True), ("a", "b", False)],
)  # fmt: skip
def test_mmmu_reads_open_answers_as_its_authors_do(answer, target, right):
    assert mmmu.is_right(mmmu.read_open(answer), [target]) is right


def test_mmmu_prints_both_numbers_and_never_guesses_in_the_first():
    options, texts = tuple("AB"), ("x", "y")
    items = [Item(i, "multiple_choice", "?", choices=texts, options=options, target=("A",)) for i in range(50)]
    scored = mmmu.score(items, ["?"] * 50)
    assert raw(scored)["accuracy"] == 0
    assert 0.2 < raw(scored)["with the official guesses"] < 0.8
    assert raw(scored) == raw(mmmu.score(items, ["?"] * 50))
    assert {judgement.read for judgement in scored.verdicts} == {""}


def test_mmmu_reads_its_files(example_files):
    items = mmmu.read(example_files("mmmu"))[""]
    assert len({item.metadata["subject"] for item in items}) == 30
    assert None not in {item.metadata["discipline"] for item in items}
    assert {len(item.options) for item in items} >= {0, 4}
    assert raw(mmmu.score(items, [item.target[0] for item in items]))["accuracy"] == 1


def problem(kind, target, choices=(), precision=0):
    options = tuple("ABCD"[: len(choices)])
    metadata = {"answer type": kind, "precision": precision}
    return Item("1", "open_vqa", "?", choices=choices, options=options, target=(target,), metadata=metadata)


@pytest.mark.parametrize(
    ("item", "answer", "right"),
    [
        (problem("text", "blue", ("red", "blue")), "B", 1),
        (problem("text", "blue", ("red", "blue")), "(B) blue", 1),
        (problem("text", "blue", ("red", "blue")), "bluish", 1),
        (problem("text", "blue", ("red", "blue")), 'The answer is "blue".', 1),
        (problem("integer", "1"), "1.5", 1),  # the official rule cuts the fraction off
        (problem("integer", "1"), "one", 0),
        (problem("float", "1.5", precision=1), "1.46", 1),
        (problem("float", "1.5", precision=1), "inf", 0),
        (problem("list", "[1, 2]"), "[1, 2]", 1),
        (problem("text", "yes"), "Yes", 0),
    ],
)
def test_math_vista_compares_by_the_answers_type(item, answer, right):
    scored = math_vista.score([item], [answer])
    kind = item.metadata["answer type"]
    assert (raw(scored)["accuracy"], raw(scored)[f"{kind}: right"], raw(scored)[f"{kind}: asked"]) == (right, right, 1)


@pytest.mark.parametrize(("first", "second", "distance"), [("", "abc", 3), ("kitten", "sitting", 3), ("a", "a", 0)])
def test_edits_are_levenshteins(first, second, distance):
    assert math_vista.edits(first, second) == math_vista.edits(second, first) == distance


def test_math_vista_reads_its_file(example_files):
    items = math_vista.read(example_files("math_vista"))[""]
    assert {item.metadata["answer type"] for item in items} == {"text", "integer", "float", "list"}
    assert raw(math_vista.score(items, [item.target[0] for item in items]))["accuracy"] == 1


@pytest.mark.parametrize(
    ("read", "content"),
    [
        (math_vista.read, {"1": {"question": "?", "image": "a", "answer_type": "float", "precision": "x"}}),
        (math_vista.read, {"1": {"question": "?", "image": "a", "choices": 3}}),
        (gqa.read, {"1": {"question": "?", "imageId": "1", "types": [1]}}),
        (seed_bench.read, {"questions": [], "question_type": {"a": [1]}}),
        (mmbench.read, [{"index": 1, "question": 3, "image": None, "A": "x"}] * 2),
        (vizwiz.read, [{"image": "a", "question": "?", "answers": [1]}]),
        (scienceqa.read, {"1": {"split": "test", "question": "?", "choices": ["a"], "answer": 2}}),
        (hallusion_bench.read, [{"question": "?"}]),
        (nocaps.read, {"images": [{"id": 1, "file_name": "a", "domain": ["x"]}]}),
        (q_bench.read, [{"img_path": "a", "question": "?", "candidates": ["x"], "correct_ans": ["x"]}]),
    ],
)
def test_files_of_other_content_are_refused_in_one_sentence(read, content, tmp_path):
    (tmp_path / "file.json").write_text(json.dumps(content))
    with pytest.raises(InputError) as raised:
        read([str(tmp_path / "file.json")])
    assert "\n" not in str(raised.value)


def test_nocaps_scores_each_domain_as_a_corpus_of_its_own():
    references = [
        ("A man riding a horse on a beach.", "a person rides a brown horse."),
        ("Two dogs play in the grass", "dogs are playing (outside) in green grass!"),
        ("a red bus in a street", "the bus is red"),
    ]
    captions = ["a man riding a horse", "two dogs playing in the grass.", "a bus"]
    domains = ["in-domain", "in-domain", "out-domain"]
    items = [
        Item(i, "image_caption", target=own, metadata={"domain": domain})
        for i, (own, domain) in enumerate(zip(references, domains, strict=True))
    ]
    found = raw(nocaps.score(items, captions))
    assert found["in-domain"] == pytest.approx(3.4213853360)
    assert found["entire"] == pytest.approx(score_captions(captions, references).cider)
    assert (found["out-domain"], found["in-domain images"]) == (0, 2)
    assert "near-domain" not in found
