"""Documents of several recipes and names lie side by side, and each table says which it holds."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgic import schema
from mmgic.documents.folders import document_tables, documents_folder
from mmgic.documents.interleaved import MakeInterleaved
from mmgic.documents.multi_grained import MakeDocument
from mmgic.documents.pairs import MakePair
from mmgic.documents.playback import MakeAesthetic, MakePlayback
from mmgic.documents.rounds import MakeRounds
from mmgic.settings import DocumentSettings, Settings, SettingsError
from mmgic.sources.captions.pairs import captioned_image
from mmgic.sources.rows import annotated_image, image_part, interleaved, text_part
from mmgic.stages import tables
from mmgic.stages.rows import to_table
from mmgic.stages.sampling import RowSample
from mmgic.stages.tables import Manifest, read_table
from mmgic.training.store import store_folder

DOCUMENTS = st.builds(
    DocumentSettings, recipe=st.sampled_from(["C", "CLDR", "COD"]), name=st.sampled_from(["", "a", "a-b", "C"])
)


@given(one=DOCUMENTS, other=DOCUMENTS, of_recipe=st.booleans())
def test_two_folders_are_one_only_for_one_name_and_recipe(one, other, of_recipe):
    same = documents_folder("store", one, of_recipe=of_recipe) == documents_folder("store", other, of_recipe=of_recipe)
    assert same == (one.name == other.name and (not of_recipe or one.recipe == other.recipe))


def test_the_store_lies_in_a_folder_of_the_recipe():
    settings = Settings(output="/runs/one")
    assert str(store_folder(settings)) == "/runs/one/store/CLDR"
    short = replace(settings, documents=DocumentSettings(recipe="C", name="short"))
    assert str(store_folder(short)) == "/runs/one/store-short/C"


def test_tables_of_other_recipes_and_names_are_not_counted(tmp_path):
    names = [
        *("mmgic/documents/CLDR/repeat_0", "mmgic/documents/C/repeat_0", "mmgic/documents-a/CLDR/repeat_0"),
        *("ic/documents", "ic/documents-a", "sft/playback/CLDR", "sft/playback/C", "sft/aesthetic", "sft/aesthetic-a"),
    ]
    found = []
    for name in [*names, "ic/tokens"]:
        kind = schema.DOCUMENT if name != "ic/tokens" else schema.TOKENIZED_PAIR
        tables.write_part(f"{tmp_path}/{name}/part-0.parquet", to_table([], kind))
        tables.write_manifest(f"{tmp_path}/{name}", Manifest(name, "", 0, 0, 0, {}, {}, {}, 0.0))
        found.append(read_table(f"{tmp_path}/{name}"))

    def of(**settings):
        return {table.name for table in document_tables(found, DocumentSettings(**settings))}

    assert of() == {"mmgic/documents/CLDR/repeat_0", "ic/documents", "sft/playback/CLDR", "sft/aesthetic"}
    assert of(recipe="C") == {"mmgic/documents/C/repeat_0", "ic/documents", "sft/playback/C", "sft/aesthetic"}
    assert of(name="a") == {"mmgic/documents-a/CLDR/repeat_0", "ic/documents-a", "sft/aesthetic-a"}


def test_a_name_is_a_part_of_a_folder_name():
    for name in ("../x", "a/b", "a b"):
        with pytest.raises(SettingsError, match=r"'name' is .* it may hold letters, digits"):
            DocumentSettings(name=name)


def rows():
    """A row for each maker, with all that its documents may hold."""
    objects = [{"object_id": "1", "label": "dog"}]
    region = {"location": "Center", "labels": ["dog"], "codes": [3]}
    image = {
        **annotated_image("s", "7", 0, caption="a dog.", objects=objects),
        "codes": [1],
        "regions": [region],
    }
    pair = {**captioned_image("s", "7", 0, caption_coco="a dog"), "codes": [1]}
    parts = [image_part(0), text_part("A dog.")]
    web, single = (interleaved("s", "7", 0, task, ["a.jpg"], [([], parts)]) for task in ("interleaved", "pair"))
    asked = interleaved("s", "7", 0, "open_vqa", ["a.jpg"], [([*parts[:1], text_part("What?")], [text_part("A dog")])])
    for row in (web, single, asked):
        row["images"][0]["codes"] = [1]
    sample = RowSample(0, half=2**64 - 1, whole=2**64 - 1, rows=1, size=1)
    corpora = {"corpora": {"s": "x"}}
    yield MakeDocument, {"descriptions": "", "repeat": 0}, image
    yield MakePlayback, {"descriptions": "", "sample": sample}, image
    yield MakeAesthetic, {"sample": sample}, pair
    yield MakePair, corpora, pair
    yield MakeInterleaved, corpora, web
    yield MakeInterleaved, corpora, single
    yield MakeRounds, corpora, asked


class Watched(DocumentSettings):
    """Settings that remember which of them were read."""

    def __getattribute__(self, name):
        if name in NAMES:
            READ.add(name)
        return super().__getattribute__(name)


NAMES = {field.name for field in fields(DocumentSettings)}
READ: set[str] = set()


def test_documents_read_no_setting_that_their_table_is_not_compared_by(tokenizer, vocabulary, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    for make, own, row in rows():
        settings = Watched(single_image_prob=1.0)
        READ.clear()
        document = make(str(tmp_path), vocabulary, settings, 0, **own)(row)
        assert document["keep"], document["detail"]
        assert READ
        assert not READ - set(make.used), make
