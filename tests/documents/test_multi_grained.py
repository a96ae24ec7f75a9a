"""build_document against a literal, slow reading of F.7, and what must hold for every document."""

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mmgic.documents import Descriptions, build_document
from mmgic.documents.encode import encode_texts
from mmgic.documents.prompts import caption_prompt
from mmgic.documents.template import REGIONS_HEADING, ImageSlot, image_part, region_part, to_text
from mmgic.documents.writing import Writing
from mmgic.schema import DOCUMENT, record_generator, row_id
from mmgic.settings import DocumentSettings
from mmgic.stages.rows import blank_row, to_table

DESCRIPTIONS = Descriptions(
    {"dog": "a furry animal that barks", "cup": "a small vessel to drink from"},
    {"red": "of the colour of blood"},
    {"on": "supported from below"},
)
WORDS = st.text(alphabet="abc é[]IMG</s>\n.:-{}", max_size=20)
LABELS = st.sampled_from(["dog", "cup", "table", "[IMG]"])
CODES = st.lists(st.integers(0, 63), max_size=12)
REGION = st.fixed_dictionaries(
    {
        "location": st.sampled_from(["Center", "Top Left"]),
        "labels": st.lists(LABELS, min_size=1, max_size=3),
        "codes": CODES,
    }
)


@st.composite
def rows(draw):
    objects = [{"object_id": str(i), "label": label} for i, label in enumerate(draw(st.lists(LABELS, max_size=4)))]
    ids = st.sampled_from([item["object_id"] for item in objects] or [""])
    attribute = st.fixed_dictionaries({"object_id": ids, "label": st.sampled_from(["red", "big"])})
    relationship = st.fixed_dictionaries(
        {"subject_id": ids, "object_id": ids, "label": st.sampled_from(["on", "near"])}
    )
    image_id = draw(st.text("0123456789", min_size=1, max_size=3))
    return {
        "row_id": row_id("toy", image_id),
        "source": "toy",
        "image_id": image_id,
        "caption": draw(WORDS),
        "narrative": draw(WORDS),
        "objects": objects,
        "attributes": draw(st.lists(attribute, max_size=3)) if objects else [],
        "relationships": draw(st.lists(relationship, max_size=3)) if objects else [],
        "regions": draw(st.lists(REGION, max_size=6)),
        "codes": draw(CODES),
        "drops": [],
    }


SETTINGS = st.builds(
    DocumentSettings,
    recipe=st.sampled_from(["C", "CL", "CLD", "CLDR", "LDR", "COD"]),
    max_tokens=st.integers(16, 500),
    image_first_prob=st.sampled_from([0.0, 0.5, 1.0]),
    description_dropout=st.sampled_from([0.0, 0.5, 1.0]),
)
given_tokenizer = hypothesis_settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def build(row, settings, tokenizer, vocabulary, *, seed=0, repeat=0, descriptions=DESCRIPTIONS):
    writing = Writing(tokenizer, vocabulary, settings, seed)
    return build_document(row, writing, descriptions, repeat=repeat, corpus="mmgic")


def naive_document(row, settings, tokenizer, vocabulary, repeat):
    """F.7 word by word: fill, tokenize, remove one region, fill and tokenize again. (text, ids) or None."""
    generator = record_generator(0, "documents", row["source"], row["image_id"], repeat)
    order = "image_first" if generator.random() < settings.image_first_prob else "text_first"
    dropped = generator.random() < settings.description_dropout
    shuffled = [i for i in generator.permutation(len(row["regions"])) if row["regions"][i]["codes"]]
    kinds = ("objects",) if "O" in settings.recipe else ("objects", "attributes", "relationships")
    labels = [item["label"] for kind in kinds for item in row[kind]]
    with_descriptions = "D" in settings.recipe and not dropped and bool({"dog", "cup", "red", "on"} & set(labels))
    while True:
        regions = list(shuffled) if "R" in settings.recipe else []
        while True:
            segments = image_part(row, order, settings.recipe, DESCRIPTIONS if with_descriptions else None)
            segments = segments + ([REGIONS_HEADING] if regions else [])
            for i in regions:
                segments += region_part(row["regions"][i], 1 + int(i), order)
            ids = [tokenizer.bos_token_id]
            for segment in segments:
                if isinstance(segment, ImageSlot):
                    codes = row["codes"] if segment.index == 0 else row["regions"][segment.index - 1]["codes"]
                    ids += [vocabulary.img, *(vocabulary.code_to_id(code) for code in codes), vocabulary.end_img]
                else:
                    ids += encode_texts(tokenizer, [segment])[0]
            ids.append(tokenizer.eos_token_id)
            if len(ids) <= settings.max_tokens:
                return to_text(segments), ids, with_descriptions, len(regions)
            if not regions:
                break
            regions.pop()
        if not with_descriptions:
            return None
        with_descriptions = False


@given(row=rows(), settings=SETTINGS, repeat=st.integers(0, 2))
@given_tokenizer
def test_equals_the_naive_procedure_and_keeps_its_promises(tokenizer, vocabulary, row, settings, repeat):
    document = build(row, settings, tokenizer, vocabulary, repeat=repeat)
    assert to_table([document], DOCUMENT).to_pylist() == [
        document if document["keep"] else blank_row(DOCUMENT) | document
    ]
    if not row["codes"]:
        assert (document["keep"], document["reason"]) == (False, "no_visual_tokens")
        return
    expected = naive_document(row, settings, tokenizer, vocabulary, repeat)
    if expected is None:
        assert (document["keep"], document["reason"]) == (False, "too_long")
        assert "input_ids" not in document
        return
    text, ids, with_descriptions, num_regions = expected
    assert document["keep"]
    assert document["text"] == text
    assert document["input_ids"] == ids
    assert document["with_descriptions"] == with_descriptions
    assert document["num_regions"] == num_regions
    assert len(ids) <= settings.max_tokens
    assert document["num_visual_tokens"] + document["num_text_tokens"] == len(ids)
    # one slot per image, whatever a caption or label spells out
    assert ids.count(vocabulary.img) == ids.count(vocabulary.end_img) == 1 + num_regions
    assert (ids.count(tokenizer.bos_token_id), ids.count(tokenizer.eos_token_id)) == (1, 1)
    assert sum(vocabulary.is_visual(i) for i in ids) == document["num_visual_tokens"] + 2 * (1 + num_regions)


@given(row=rows(), settings=SETTINGS)
@given_tokenizer
def test_caption_prompts_are_prefixes_of_image_first_documents(tokenizer, vocabulary, row, settings):
    document = build(row, settings, tokenizer, vocabulary)
    if document["keep"] and document["template"] == "image_first" and "C" in settings.recipe and row["caption"].strip():
        prompt = caption_prompt(tokenizer, vocabulary, row["codes"])
        assert document["input_ids"][: len(prompt)] == prompt


def full_row():
    regions = [{"location": "Center", "labels": [label], "codes": [i]} for i, label in enumerate(["dog", "cup"] * 10)]
    return {
        "row_id": row_id("toy", "7"),
        "source": "toy",
        "image_id": "7",
        "caption": "a dog at the beach.",
        "narrative": "",
        "objects": [{"object_id": "1", "label": "dog"}, {"object_id": "2", "label": "table"}],
        "attributes": [],
        "relationships": [],
        "regions": regions,
        "codes": [1, 2, 3],
        "drops": [],
    }


def test_same_identity_same_document_other_repeat_other_regions(tokenizer, vocabulary):
    settings = DocumentSettings(max_tokens=400)
    documents = [build(full_row(), settings, tokenizer, vocabulary, repeat=r) for r in (0, 1, 2, 0)]
    assert documents[0] == documents[3]
    assert len({document["text"] for document in documents}) == 3
    assert 0 < documents[0]["num_regions"] < 20
    assert build(full_row(), settings, tokenizer, vocabulary, seed=1)["text"] != documents[0]["text"]


def test_draws_follow_the_settings(tokenizer, vocabulary):
    settings = DocumentSettings(image_first_prob=0.5, description_dropout=0.5)
    documents = [build({**full_row(), "image_id": str(i)}, settings, tokenizer, vocabulary) for i in range(400)]
    image_first = sum(document["template"] == "image_first" for document in documents)
    described = sum(document["with_descriptions"] for document in documents)
    # within 4 standard deviations of a fair coin
    assert 160 < image_first < 240
    assert 160 < described < 240


def test_descriptions_go_when_they_alone_do_not_fit_and_then_regions_come_back(tokenizer, vocabulary):
    settings = DocumentSettings(description_dropout=0.0, max_tokens=250)
    long = Descriptions({"dog": "furry " * 300}, {}, {})
    document = build(full_row(), settings, tokenizer, vocabulary, descriptions=long)
    assert document["keep"]
    assert not document["with_descriptions"]
    assert document["num_regions"] > 0
    assert "their descriptions" not in document["text"]


def test_without_any_known_label_the_form_has_no_descriptions(tokenizer, vocabulary):
    settings = DocumentSettings(description_dropout=0.0)
    document = build(full_row(), settings, tokenizer, vocabulary, descriptions=Descriptions())
    assert not document["with_descriptions"]
    assert "Objects:\n- dog\n- table" in document["text"]


def test_a_document_that_fits_exactly_is_kept(tokenizer, vocabulary):
    row = {**full_row(), "regions": []}
    settings = DocumentSettings(recipe="CL")
    length = len(build(row, settings, tokenizer, vocabulary)["input_ids"])
    exact = build(row, DocumentSettings(recipe="CL", max_tokens=length), tokenizer, vocabulary)
    short = build(row, DocumentSettings(recipe="CL", max_tokens=length - 1), tokenizer, vocabulary)
    assert exact["keep"]
    assert (short["reason"], short["detail"]) == (
        "too_long",
        f"{length} tokens without regions; {length - 1} are allowed",
    )
