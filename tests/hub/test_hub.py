"""Export to the datasets layout and import of it: the same rows, and refusal of what is damaged or hostile."""

import json
import os
import shutil
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from mmgic import schema
from mmgic.cli import main
from mmgic.errors import InputError
from mmgic.files import write_text
from mmgic.hub.export import export
from mmgic.hub.load import import_dataset
from mmgic.schema import KEPT, reject, row_id
from mmgic.settings import Settings, SourceSettings, to_yaml
from mmgic.sources.rows import row_image
from mmgic.stages import tables
from mmgic.stages.digest import digest
from mmgic.stages.lifecycle import begin, finish
from mmgic.stages.rows import blank_row, to_table

REGION = {"x": 0.25, "y": 0.5, "side": 0.5, "location": "Center", "labels": ["dog|cat"], "codes": [1, 2]}


def make_table(folder: Path, name: str, table_schema: pa.Schema, rows: list[dict], repeatable: bool = True) -> None:
    """A finished table as the stages leave it, in two files."""
    fingerprint, _ = begin(str(folder), name, {"seed": 3}, "made of nothing", repeatable)
    empty = blank_row(table_schema)
    for part in range(2):
        tables.write_part(
            f"{folder}/part-{part}.parquet",
            to_table([empty | row for row in rows[part::2]], table_schema),
        )
    manifest = tables.Manifest(
        name, fingerprint, len(rows), **tables.count(tables.open_table(str(folder))), seconds=2.5
    )
    finish(str(folder), manifest, 1.0)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with tokenized images, documents of two repeats and instruction rounds."""
    folder = tmp_path / "run"
    image = tmp_path / "photos" / "a.png"
    image.parent.mkdir()
    Image.new("RGB", (30, 20), "teal").save(image)
    sources = (SourceSettings(name="vg", format="visual_genome"), SourceSettings(name="chat", format="alpaca"))
    write_text(f"{folder}/settings.yaml", to_yaml(Settings(preset="toy", sources=sources)))

    def key(number: int, source: str = "vg") -> dict:
        return {"row_id": row_id(source, str(number)), "source": source, "image_id": str(number)}

    images = [
        {**key(i), "image_path": str(image), "width": 30, "height": 20, "regions": [REGION], "codes": [3, 4], **KEPT}
        | {"drops": [{"reason": "attribute_rare", "count": 2}]}
        for i in range(5)
    ]
    images.append({**key(9), "image_path": "/nowhere.png", **reject("image_missing", "/nowhere.png")})
    make_table(folder / "mmgic/tokens", "mmgic/tokens", schema.TOKENIZED_IMAGE, images)
    for repeat in range(2):
        documents = [
            {**key(i), "repeat": repeat, "input_ids": [1, 5, 2], "answer_spans": [[0, 1], [1, 3]], **KEPT}
            for i in range(4)
        ]
        name = f"mmgic/documents/CLDR/repeat_{repeat}"
        make_table(folder / name, name, schema.DOCUMENT, documents)
    rounds = [
        {**key(i, "chat"), "task": "image_editing", "images": [row_image(str(image)) | {"codes": [1]}] * (i % 3)}
        | {"rounds": [{"instruction": [{"text": "", "image": 0}], "response": [{"text": "ok", "image": -1}]}], **KEPT}
        for i in range(4)
    ]
    make_table(folder / "sft/tokens", "sft/tokens", schema.INTERLEAVED, rounds)
    return folder


def loaded(folder: Path, tmp_path: Path) -> list[dict]:
    os.environ["HF_HUB_OFFLINE"] = "1"
    import datasets

    return list(datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache")))


@pytest.mark.parametrize("name", ["mmgic/tokens", "mmgic/documents", "sft/tokens"])
def test_round_trip_has_the_same_rows_and_datasets_loads_them(run: Path, tmp_path: Path, name: str) -> None:
    assert main(["export", f"{run}/{name}", f"{tmp_path}/hf"]) == 0
    assert main(["import", f"{tmp_path}/hf", f"{tmp_path}/back"]) == 0
    assert digest(f"{tmp_path}/back") == digest(f"{run}/{name}")

    found = tables.finished_tables(f"{run}/{name}")
    expected = [row for table in found for row in tables.open_table(table.folder).to_table().to_pylist()]
    assert loaded(tmp_path / "hf", tmp_path) == expected


def test_documents_are_exported_with_their_pictures(run: Path, tmp_path: Path) -> None:
    """Text and picture in one table, in both repeats; a document of another corpus's image has its picture too."""
    played_back = {"row_id": row_id("vg", "2"), "source": "vg", "image_id": "2", "input_ids": [1, 2], **KEPT}
    unknown = {"row_id": row_id("chat", "99"), "source": "chat", "image_id": "99", "input_ids": [1, 2], **KEPT}
    answers = [{"row_id": row_id("chat", str(i)), "source": "chat", "image_id": str(i), **KEPT} for i in range(3)]
    aside = {"row_id": row_id("chat", "5"), "source": "chat", "image_id": "5", **reject("too_long", "9,999 tokens")}
    rows = [played_back, unknown, *answers, aside]
    make_table(run / "sft/documents", "sft/documents", schema.DOCUMENT, [{"text": "a", **row} for row in rows])
    for name, expected in (("mmgic/documents", [1] * 8), ("sft/documents", [1, 0, 0, 1, 2, 0])):
        assert main(["export", f"{run}/{name}", f"{tmp_path}/{name}", "--images"]) == 0
        found = loaded(tmp_path / name, tmp_path / name.replace("/", "-"))
        assert sorted(len(row["pictures"]) for row in found) == sorted(expected)
        assert {picture.size for row in found for picture in row["pictures"]} == {(30, 20)}
        if name == "sft/documents":
            shown = {row["row_id"]: len(row["pictures"]) for row in found}
            assert [shown[row["row_id"]] for row in rows] == expected
        assert main(["import", f"{tmp_path}/{name}", f"{tmp_path}/back/{name}"]) == 0
        assert digest(f"{tmp_path}/back/{name}") == digest(f"{run}/{name}")


def test_a_build_goes_on_from_an_imported_table(run: Path, tmp_path: Path) -> None:
    export(f"{run}/mmgic/tokens", f"{tmp_path}/hf")
    made = import_dataset(f"{tmp_path}/hf", f"{tmp_path}/back")
    assert made.manifest == tables.read_manifest(f"{run}/mmgic/tokens")
    fingerprint, done = begin(f"{tmp_path}/back", "mmgic/tokens", {"seed": 3}, "made of nothing")
    assert (done, fingerprint) == (made, made.manifest.fingerprint)
    with pytest.raises(InputError, match="built with seed = 3, now 4"):
        begin(f"{tmp_path}/back", "mmgic/tokens", {"seed": 4}, "made of nothing")
    assert import_dataset(f"{tmp_path}/hf", f"{tmp_path}/back") == made  # done before


def test_a_build_goes_on_from_an_imported_table_that_was_fetched(tmp_path: Path) -> None:
    row = {"row_id": 1, "source": "vg", "image_id": "1", **KEPT}
    make_table(tmp_path / "fetched", "ic/images", schema.CAPTIONED_IMAGE, [row], repeatable=False)
    export(str(tmp_path / "fetched"), f"{tmp_path}/hf")
    made = import_dataset(f"{tmp_path}/hf", f"{tmp_path}/back")
    assert made.manifest == tables.read_manifest(str(tmp_path / "fetched"))
    again = begin(f"{tmp_path}/back", "ic/images", {"seed": 3}, "made of nothing", repeatable=False)
    assert again == (made.manifest.fingerprint, made)


def test_a_build_goes_on_from_a_table_with_unpacked_images(run: Path, tmp_path: Path) -> None:
    hf, back, images = f"{tmp_path}/hf", f"{tmp_path}/back", f"{tmp_path}/images"
    export(f"{run}/mmgic/tokens", hf, images=True)
    made = import_dataset(hf, back, images)
    assert made.manifest == tables.read_manifest(f"{run}/mmgic/tokens")
    assert begin(back, "mmgic/tokens", {"seed": 3}, "made of nothing") == (made.manifest.fingerprint, made)
    assert import_dataset(hf, back, images) == made  # done before
    for other in ("", f"{tmp_path}/elsewhere"):
        with pytest.raises(InputError, match=rf"has its images in {images}, not in .*delete it to import it again"):
            import_dataset(hf, back, other)
    with pytest.raises(InputError, match=rf"folders they were in before, not in {images}"):
        import_dataset(hf, f"{run}/mmgic/tokens", images)
    os.remove(f"{back}/manifest.json")  # an import that was cut short starts anew, with any folder
    import_dataset(hf, back, f"{tmp_path}/elsewhere")
    paths = tables.open_table(back).to_table(columns=["image_path"], filter=tables.select()).to_pydict()["image_path"]
    assert {str(Path(path).parent) for path in paths} == {f"{tmp_path}/elsewhere"}


def test_shards_are_numbered_and_card_has_the_figures(run: Path, tmp_path: Path) -> None:
    record = export(f"{run}/mmgic/tokens", f"{tmp_path}/hf", shard_bytes=1)
    assert list(record.files) == [f"data/train-0000{i}-of-00002.parquet" for i in range(2)]
    card = (tmp_path / "hf/README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["configs"][0]["data_files"] == [{"split": "train", "path": "data/train-*.parquet"}]
    assert front["size_categories"] == ["n<1K"]
    for line in (
        "| vg | visual_genome | 6 | 5 | CC BY 4.0 |",
        "| `image_missing` | 1 |",
        "| `attribute_rare` | 10 |",
        "6 rows of the stage `mmgic/tokens`, 5 of them kept, made with MMGIC's data pipeline and the preset `toy`.",
        "input: made of nothing",
        "| `mmgic/tokens` | 6 | 5 | `image_missing` 1 |",
        "| `mmgic/documents/CLDR/repeat_1` | 4 | 4 |  |",
    ):
        assert line in card
    assert len(loaded(tmp_path / "hf", tmp_path)) == 6


def test_images_are_embedded_and_unpacked(run: Path, tmp_path: Path) -> None:
    export(f"{run}/mmgic/tokens", f"{tmp_path}/hf", images=True)
    rows = loaded(tmp_path / "hf", tmp_path)
    assert [row["image"].size if row["keep"] else row["image"] for row in rows].count((30, 20)) == 5
    assert next(row["image"] for row in rows if not row["keep"]) is None
    import_dataset(f"{tmp_path}/hf", f"{tmp_path}/plain")
    assert digest(f"{tmp_path}/plain") == digest(f"{run}/mmgic/tokens")

    import_dataset(f"{tmp_path}/hf", f"{tmp_path}/unpacked", images=f"{tmp_path}/images")
    original = (tmp_path / "photos/a.png").read_bytes()
    rows = tables.open_table(f"{tmp_path}/unpacked").to_table().to_pylist()
    for row in rows:
        if row["keep"]:
            assert Path(row["image_path"]).parent == tmp_path / "images"
            assert Path(row["image_path"]).suffix == ".png"
            assert Path(row["image_path"]).read_bytes() == original
    assert {row["image_path"] for row in rows if not row["keep"]} == {"/nowhere.png"}


def test_images_of_rounds_are_embedded_and_unpacked(run: Path, tmp_path: Path) -> None:
    export(f"{run}/sft/tokens", f"{tmp_path}/hf", images=True)
    assert sorted(len(row["image_files"]) for row in loaded(tmp_path / "hf", tmp_path)) == [0, 0, 1, 2]
    import_dataset(f"{tmp_path}/hf", f"{tmp_path}/unpacked", images=f"{tmp_path}/images")
    rows = tables.open_table(f"{tmp_path}/unpacked").to_table().to_pylist()
    paths = [image["image_path"] for row in rows for image in row["images"]]
    assert len(set(paths)) == 3
    assert all(Path(path).parent == tmp_path / "images" and Path(path).is_file() for path in paths)


def test_exports_refuse_what_they_cannot_do(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no finished table"):
        export(str(tmp_path / "photos"), f"{tmp_path}/hf")
    with pytest.raises(InputError, match="different columns"):
        export(str(run), f"{tmp_path}/hf")
    shutil.copytree(run / "mmgic/documents", tmp_path / "alone/mmgic/documents")
    with pytest.raises(InputError, match="names no images, nor does a tokens table"):
        export(f"{tmp_path}/alone/mmgic/documents/CLDR/repeat_0", f"{tmp_path}/hf", images=True)
    export(f"{run}/mmgic/tokens", f"{tmp_path}/hf")
    with pytest.raises(InputError, match="is not empty"):
        export(f"{run}/mmgic/tokens", f"{tmp_path}/hf")


@pytest.mark.parametrize("name", ["data/thesis.txt", "data/train-00000-of-00001.parquet", "thesis.txt", ""])
def test_an_export_deletes_no_file_of_others(run: Path, tmp_path: Path, name: str) -> None:
    mine = tmp_path / "mine" / name if name else tmp_path / "mine"  # a folder's files, or a file in the folder's place
    mine.parent.mkdir(parents=True, exist_ok=True)
    mine.write_text("years of work")
    with pytest.raises(InputError, match="is not empty"):
        export(f"{run}/mmgic/tokens", f"{tmp_path}/mine")
    assert mine.read_text() == "years of work"
    assert [path for path in (tmp_path / "mine").rglob("*") if path.is_file()] == ([mine] if name else [])


@pytest.mark.parametrize("root", ["local", "memory://exports"])
def test_an_export_that_was_cut_short_is_made_anew(
    run: Path, tmp_path: Path, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = f"{tmp_path}/hf" if root == "local" else root
    filesystem, path = fsspec.url_to_fs(folder)
    with monkeypatch.context() as patch:
        patch.setattr("mmgic.hub.export.dataset_card", stop)
        with pytest.raises(KeyboardInterrupt):
            export(f"{run}/mmgic/tokens", folder, shard_bytes=1)
    with pytest.raises(InputError, match="holds no data"):  # what is not whole is not seen
        import_dataset(folder, f"{tmp_path}/back")
    record = export(f"{run}/mmgic/tokens", folder)
    found = {name.removeprefix(f"{path}/") for name in filesystem.find(path)}
    assert found == {"README.md", "mmgic.json", *record.files}
    import_dataset(folder, f"{tmp_path}/back")
    assert digest(f"{tmp_path}/back") == digest(f"{run}/mmgic/tokens")


def stop(*_: object) -> str:
    raise KeyboardInterrupt


def test_images_that_cannot_be_embedded_are_counted(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "id_rsa"
    secret.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n")
    good = str(tmp_path / "photos/a.png")
    names = [good, str(secret), f"{secret}#bytes=0-20", "http://127.0.0.1:9/a.png", str(tmp_path / "none.png"), ""]
    rows = [
        {"row_id": i, "source": "vg", "image_id": str(i), "image_path": name, **KEPT} for i, name in enumerate(names)
    ]
    make_table(tmp_path / "images", "mmgic/cleaned", schema.ANNOTATED_IMAGE, rows)
    lists = [
        {"row_id": i, "source": "chat", "image_id": str(i), "images": [row_image(good), row_image(n)], **KEPT}
        for i, n in enumerate(names)
    ]
    make_table(tmp_path / "lists", "sft/annotations", schema.INTERLEAVED, lists)
    for name, expected in (("images", [1, 0, 0, 0, 0, 0]), ("lists", [2, 1, 1, 1, 1, 1])):
        hf = tmp_path / f"{name}_hf"
        assert main(["export", str(tmp_path / name), str(hf), "--images"]) == 0
        out = capsys.readouterr().out
        assert "5 images of kept rows are not embedded (image_missing 3, image_undecodable 2)" in out
        card = (hf / "README.md").read_text()
        assert "embedded, but for 5 of kept rows (`image_missing` 3, `image_undecodable` 2)." in card
        assert b"OPENSSH" not in b"".join(path.read_bytes() for path in hf.rglob("*.parquet"))
        made = sorted(loaded(hf, tmp_path), key=lambda row: row["row_id"])
        files = [row["image_files"] if name == "lists" else [row["image"]] for row in made]
        assert [sum(file is not None for file in of_row) for of_row in files] == expected
        import_dataset(str(hf), f"{tmp_path}/{name}_back", images=f"{tmp_path}/{name}_files")
        back = tables.open_table(f"{tmp_path}/{name}_back").to_table().to_pylist()
        last = [row["images"][-1]["image_path"] if name == "lists" else row["image_path"] for row in back]
        assert set(names[1:]) < set(last)  # the paths that were not embedded are kept


def tampered(record: Path, change: dict) -> None:
    record.write_text(json.dumps({**json.loads(record.read_text()), **change}))


def test_imports_refuse_what_was_not_exported(run: Path, tmp_path: Path) -> None:
    hf, back = tmp_path / "hf", str(tmp_path / "back")
    with pytest.raises(InputError, match="is not a folder"):
        import_dataset(str(hf), back)
    export(f"{run}/mmgic/tokens", str(hf))
    record = hf / "mmgic.json"
    text, shard = record.read_text(), hf / "data/train-00000-of-00001.parquet"
    for name in ("../secret.parquet", "/etc/passwd", "data/../../x.parquet", "README.md"):
        tampered(record, {"files": {name: {"bytes": 1, "sha256": ""}}})
        with pytest.raises(InputError, match="refusing the folder"):
            import_dataset(str(hf), back)
    record.write_text("[]")
    with pytest.raises(InputError, match="not the record of an export"):
        import_dataset(str(hf), back)
    record.write_text(text)
    tampered(record, {"rows": 7})
    with pytest.raises(InputError, match=r"has 6 rows, but its mmgic\.json says 7"):
        import_dataset(str(hf), f"{back}_rows")
    record.write_text(text)
    (hf / "data/more.parquet").write_bytes(shard.read_bytes())
    with pytest.raises(InputError, match=r"holds more\.parquet, which the export did not write"):
        import_dataset(str(hf), back)
    (hf / "data/more.parquet").unlink()
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="is not the file that was exported"):
        import_dataset(str(hf), back)
    shard.unlink()
    with pytest.raises(InputError, match=r"holds no data/\*\.parquet"):
        import_dataset(str(hf), back)
    assert not Path(back).exists()


def test_parquet_files_of_others(run: Path, tmp_path: Path) -> None:
    data = tmp_path / "hf/data"
    data.mkdir(parents=True)
    rows = tables.open_table(f"{run}/mmgic/tokens").to_table()
    pq.write_table(rows.drop(["keep"]), data / "train.parquet")
    with pytest.raises(InputError, match="has no column 'keep' of type bool"):
        import_dataset(str(tmp_path / "hf"), f"{tmp_path}/back")
    (data / "train.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match="is not a Parquet file"):
        import_dataset(str(tmp_path / "hf"), f"{tmp_path}/back")
    pq.write_table(rows, data / "train.parquet")
    with pytest.raises(InputError, match="holds no embedded images"):
        import_dataset(str(tmp_path / "hf"), f"{tmp_path}/back", images=str(tmp_path / "images"))
    manifest = import_dataset(str(tmp_path / "hf"), f"{tmp_path}/back").manifest
    assert (manifest.name, manifest.rows_in, manifest.kept) == ("imported", 6, 5)
    assert digest(f"{tmp_path}/back") == digest(f"{run}/mmgic/tokens")
    with pytest.raises(InputError, match="is not empty"):
        import_dataset(str(tmp_path / "hf"), str(tmp_path / "photos"))
