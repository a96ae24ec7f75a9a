"""Label descriptions and merged captions on Ray Data, asked of the toy world's own language model."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from mmgic.descriptions.reading import load_descriptions
from mmgic.pipelines.labels import describe_labels, label_concepts, propose_sense_names
from mmgic.pipelines.merge import run_merge
from mmgic.presets import preset
from mmgic.schema import CAPTIONED_IMAGE
from mmgic.settings import CaptionSettings, LanguageModelSettings, Settings, SettingsError, load_settings
from mmgic.sources.captions.pairs import captioned_image
from mmgic.stages import tables
from mmgic.stages.digest import digest
from mmgic.stages.ingest import ingest
from mmgic.stages.places import Places
from mmgic.toy.datasets.write import make_world
from mmgic.toy.models.language_model_server import MODEL, ToyServer, serve
from mmgic.toy.world.words import CATEGORIES

pytestmark = pytest.mark.usefixtures("ray_cluster")
FORMATS = ("visual_genome", "coco")
KEY = "MMGIC_TEST_KEY"


@pytest.fixture(scope="module")
def server() -> Iterator[ToyServer]:
    # the workers of the cluster started before this server and its token, so it takes the token that they have
    with serve(token="none") as server:
        yield server


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, server: ToyServer) -> Settings:
    output = tmp_path_factory.mktemp("labels")
    make_world(output / "world", 40, 0)
    toy = load_settings(preset("toy-test"), None, [f"output={output}"])
    sources = tuple(source for source in toy.sources if source.format in FORMATS)
    asked = LanguageModelSettings(
        base_url=server.base_url, model=MODEL, api_key_env=KEY, cache=f"{output}/answers.sqlite", retries=0
    )
    return replace(toy, sources=sources, language_model=asked)


def test_the_labels_of_a_built_dataset_are_described(settings: Settings, server: ToyServer) -> None:
    concepts = label_concepts(settings)
    red = next(c for c in concepts if (c.source, c.kind, c.label) == ("visual_genome", "attribute", "red"))
    assert 1 <= len(red.related) <= settings.labels.related
    report = describe_labels(settings, concepts)
    assert report.asked == len(server.asked) == report.usage.answers
    assert report.usage.prompt_tokens > 200 * report.asked
    assert len(report.entries) == len(concepts)
    assert json.loads(Path(report.descriptions).with_name("usage.json").read_text())["answers"] == report.asked

    descriptions = load_descriptions(report.descriptions)
    for source in ("visual_genome", "objects365"):
        known = descriptions.of(source).objects
        assert CATEGORIES["dog"].description[1:] in known["dog"]
        assert len(known) > 10
    assert "holds" in descriptions.of("visual_genome").relationships

    review = Path(report.review)
    review.write_text(review.read_text().replace("\t\t\n", "\treject\t\n"))
    again = describe_labels(settings, label_concepts(settings))
    assert again.asked == 0
    assert {entry.status for entry in again.entries} == {"rejected"}


def test_names_of_label_senses_are_proposed(settings: Settings) -> None:
    if not Path(settings.labels.wordnet, "data.noun").is_file():
        pytest.skip("needs WordNet 3.0")
    output = f"{settings.output}/senses"
    toy = load_settings(preset("toy-all"), None, [f"output={output}"])
    make_world(Path(output, "world"), 40, 0)
    ambiguous = replace(toy, sources=tuple(s for s in toy.sources if s.name == "visual_genome_ambiguous"))
    path, new = propose_sense_names(ambiguous)
    assert new > 1
    rows = [line.split("\t") for line in Path(path).read_text().splitlines()]
    assert len(rows) == new + 1
    labels = [row[1] for row in rows[1:]]
    assert all(labels.count(label) > 1 for label in labels)
    assert propose_sense_names(ambiguous) == (path, 0)


def test_labels_that_bring_their_descriptions_need_no_language_model(settings: Settings) -> None:
    output = f"{settings.output}/v3det"
    toy = load_settings(preset("toy-all"), None, [f"output={output}", "language_model.cache=/nowhere/answers.sqlite"])
    make_world(Path(output, "world"), 16, 0)
    alone = replace(toy, sources=tuple(s for s in toy.sources if s.name == "v3det"))
    concepts = label_concepts(alone)
    report = describe_labels(alone, concepts)
    assert (len(report.entries), report.asked, report.usage.answers) == (len(concepts), 0, 0)
    assert {(entry.status, entry.by) for entry in report.entries} == {("described", "dataset")}
    assert load_descriptions(report.descriptions).of("v3det").objects

    other = replace(concepts[0], label="something new")
    with pytest.raises(SettingsError, match=rf"1 of the {len(concepts) + 1} labels .*set language_model.base_url"):
        describe_labels(alone, [*concepts, other])


def _pairs(count: int) -> list[dict[str, object]]:
    return [
        captioned_image(
            "web",
            str(i),
            0,
            caption_origin=f"House No {i} | SALE",
            caption_coco="y " * 130 if i == 7 else f"a house number {i}",
            caption_capsfusion="It is there." if i % 4 == 0 else "",
        )
        for i in range(count)
    ]


def test_captions_are_merged_where_one_is_missing(
    settings: Settings, server: ToyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    digests = []
    for name in ("first", "second"):
        cluster = replace(settings.cluster, language_model_workers=2, rows_per_block=8)
        captions = replace(settings.captions, merge=True)
        run = replace(settings, output=f"{settings.output}/{name}", cluster=cluster, captions=captions)
        table = ingest("ic/annotations", Places(run.output), CAPTIONED_IMAGE, [partial(_pairs, 30)], {})
        before = len(server.asked)
        merged = run_merge(run, table)
        # 22 rows lack it; the second table is made from the cache alone
        assert len(server.asked) - before == (22 if name == "first" else 0)
        assert (merged.name, merged.manifest.rows_in, merged.manifest.kept) == ("ic/merged", 30, 30)
        assert merged.manifest.drops == {"caption_not_merged": 1}
        digests.append(digest(f"{run.output}/ic/merged"))
        # told by the two actors that asked, which share their machine's file of answers
        [usage] = Path(run.output, "ic/merged/usage").iterdir()
        assert json.loads(usage.read_text())["answers"] == 22
    assert digests[0] == digests[1]
    assert "ic/merged: all answers in the actors' caches: 22 answers" in capsys.readouterr().out
    rows = {row["image_id"]: row for row in tables.open_table(f"{run.output}/ic/merged").to_table().to_pylist()}
    assert rows["1"]["caption_capsfusion"] == "A house number 1, known as House No 1 | SALE."
    assert rows["4"]["caption_capsfusion"] == "It is there."
    assert rows["7"]["caption_capsfusion"] == rows["7"]["caption_coco"]

    without = replace(run, language_model=LanguageModelSettings())
    with pytest.raises(SettingsError, match=r"language_model.base_url names no server, .* captions.merge=false"):
        run_merge(without, table)
    assert run_merge(replace(without, captions=CaptionSettings(merge=False)), table) == table
