"""Questions and captions about toy scenes in the files of OK-VQA, GQA, OCR-VQA, A-OKVQA, TextCaps and LaionGPT4V."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmgic.download.shard import Fetched, ShardEntry, write_shard
from mmgic.images import ImageError
from mmgic.toy.datasets.samples import CaptionedScene, World, write_bytes, write_json
from mmgic.toy.world import dialogue

HOST = "http://toy.invalid"


def write_okvqa(folder: Path, images: Path, samples: list[CaptionedScene], world: World) -> None:
    """Ten answers without a chosen one, of which a few differ."""
    questions, annotations = [], []
    for sample in samples:
        rng = world.generator("okvqa", sample.number)
        for k, (question, answer) in enumerate(dialogue.short_questions(sample.scene, rng)):
            question_id = sample.image_id * 10 + k
            answers = ["unsure" if rng.random() < 0.2 else answer for _ in range(10)]
            answers[:6] = [answer] * 6
            questions.append({"image_id": sample.image_id, "question": question, "question_id": question_id})
            given = [{"answer_id": n + 1, "raw_answer": a, "answer": a} for n, a in enumerate(answers)]
            annotations.append({"image_id": sample.image_id, "question_id": question_id, "answers": given})
        name = f"COCO_train2014_{sample.image_id:012d}.jpg"
        write_bytes(images / name, sample.jpeg())
    annotations.pop(3)
    header = {"data_subtype": "train2014"}
    write_json(folder / "OpenEnded_mscoco_train2014_questions.json", {**header, "questions": questions})
    write_json(folder / "mscoco_train2014_annotations.json", {**header, "annotations": annotations})


def write_gqa(folder: Path, images: Path, samples: list[CaptionedScene], world: World) -> None:
    questions: dict[str, dict[str, Any]] = {}
    for sample in samples:
        asked = dialogue.short_questions(sample.scene, world.generator("gqa", sample.number))
        for k, (question, answer) in enumerate(asked):
            record = {"question": question, "imageId": str(sample.image_id), "answer": answer, "isBalanced": True}
            questions[f"{sample.image_id:08d}{k}"] = record
        write_bytes(images / f"{sample.image_id}.jpg", sample.jpeg())
    del questions[next(iter(questions))]["answer"]
    write_json(folder / "train_balanced_questions.json", questions)


def write_ocrvqa(folder: Path, images: Path, samples: list[CaptionedScene], world: World) -> None:
    books: dict[str, dict[str, Any]] = {}
    for i, sample in enumerate(samples):
        asked = dialogue.short_questions(sample.scene, world.generator("ocrvqa", sample.number))
        name = f"{sample.image_id:010d}"
        books[name] = {
            "imageURL": f"{HOST}/ocrvqa/{name}.jpg",
            "title": sample.captions[0],
            "questions": [question for question, _ in asked],
            "answers": [answer for _, answer in asked],
            "split": {6: 2, 7: 3}.get(i % 8, 1),
        }
        write_bytes(images / f"{name}.jpg", sample.jpeg())
    books[next(iter(books))]["answers"].pop()
    write_json(folder / "dataset.json", books)


def write_aokvqa(folder: Path, images: Path, samples: list[CaptionedScene], world: World) -> None:
    records = []
    for i, sample in enumerate(samples):
        question, choices, place = dialogue.multiple_choice(sample.scene, world.generator("aokvqa", sample.number))
        record = {"split": "train", "image_id": sample.image_id, "question_id": f"q{i}", "question": question}
        records.append({**record, "choices": choices, "correct_choice_idx": None if i == 4 else place})
        write_bytes(images / "train2017" / f"{sample.image_id:012d}.jpg", sample.jpeg())
    write_json(folder / "aokvqa_v1p0_train.json", records)


def write_textcaps(folder: Path, images: Path, samples: list[CaptionedScene], world: World) -> None:
    records: list[dict[str, Any]] = []
    for i, sample in enumerate(samples):
        image_id = f"{sample.image_id:016x}"
        for caption in sample.captions:
            url = f"{HOST}/textcaps/{image_id}.jpg"
            records.append({"image_id": image_id, "caption_str": caption, "flickr_original_url": url})
        records[-1]["caption_str"] = None if i == 2 else records[-1]["caption_str"]
        write_bytes(images / f"{image_id}.jpg", sample.jpeg())
    write_json(folder / "TextCaps_0.1_train.json", {"dataset_name": "TextCaps", "data": records})


def write_laion_gpt4v(folder: Path, images: Path, samples: list[CaptionedScene], world: World) -> None:
    rows, entries = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for i, sample in enumerate(samples):
            url = f"{HOST}/gpt4v/{sample.image_id}.jpg"
            rows.append({"link": None if i == 3 else url, "caption": dialogue.detailed(sample.scene, sample.captions)})
            file = Path(scratch) / str(i)
            file.write_bytes(sample.jpeg())
            result: Fetched | ImageError = Fetched(file, "jpg", sample.scene.width, sample.scene.height)
            result = ImageError("download_failed", "HTTP Error 404: Not Found") if i % 12 == 7 else result
            entries.append(ShardEntry(f"{i:09}", url, sample.captions[0], {}, result))
        write_shard(str(images / "00000"), entries)
    columns = pa.schema([("link", pa.string()), ("caption", pa.string())])
    pq.write_table(pa.Table.from_pylist(rows, columns), folder / "train.parquet")
