"""The toy world's instruction datasets in their own formats (Table 14), with the faults of the real files.

llava/            llava_instruct_150k.json images/              bare image names
llava_mix/        llava_v1_5_mix665k.json images/               folders in names, VQA prompts, rows in words alone
llavar/           llava_instruct_150k_llavar_16k.json images/   LLaVA's records again, and its own under made-up names
sharegpt4v/       sharegpt4v_instruct_gpt4-vision_cap100k.json images/
unimm_chat/       unimm_chat.parquet                            images inside, conversations as JSON strings
okvqa/ gqa/ ocrvqa/ aokvqa/ textcaps/                           their JSON files and images/
laion_gpt4v/      train.parquet images/                         links, with the images in an img2dataset shard
instructpix2pix/  seeds.json NNNNNNN/{prompt.json,SEED_0.jpg,SEED_1.jpg}
magicbrush/       train-00000-of-00001.parquet                  sessions of up to three edits, images inside
alpaca/           alpaca_data.json
sharegpt/         ShareGPT_V3_unfiltered_cleaned_split.json
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmgic.toy.datasets.image_questions import (
    write_aokvqa,
    write_gqa,
    write_laion_gpt4v,
    write_ocrvqa,
    write_okvqa,
    write_textcaps,
)
from mmgic.toy.datasets.samples import CaptionedScene, World, jpeg, write_bytes, write_json
from mmgic.toy.world import dialogue, text
from mmgic.toy.world.dialogue import Turn

DATASETS = (
    *("llava", "llava_mix", "llavar", "sharegpt4v", "unimm_chat", "okvqa", "gqa", "ocrvqa", "aokvqa", "textcaps"),
    *("laion_gpt4v", "instructpix2pix", "magicbrush", "alpaca", "sharegpt"),
)
SHORT = "\nAnswer the question using a single word or phrase."
LETTER = "\nAnswer with the option's letter from the given choices directly."
ONE_SENTENCE = "Provide a one-sentence caption for the provided image."

_Image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write_instructions(root: Path, world: World, numbers: range) -> None:
    """All datasets of DATASETS, each with a record or more for every scene of `numbers`."""
    samples = list(world.samples(numbers))
    for name in DATASETS:
        WRITERS[name](root / name, root / name / "images", samples, world)


def _conversation(turns: list[Turn], image_last: bool = False, image: bool = True) -> list[dict[str, str]]:
    """LLaVA's turns; the first question carries <image>."""
    spoken = []
    for i, (question, answer) in enumerate(turns):
        if image and i == 0:
            question = f"{question}\n<image>" if image_last else f"<image>\n{question}"
        spoken += [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return spoken


def _coco_name(sample: CaptionedScene) -> str:
    return f"{sample.image_id:012d}.jpg"


def _llava_records(samples: list[CaptionedScene], world: World) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    for i, sample in enumerate(samples):
        turns = dialogue.talk(sample.scene, sample.captions, world.generator("llava", sample.number))
        name = _coco_name(sample)
        record = {"id": name[:-4], "image": name, "conversations": _conversation(turns, image_last=i % 2 == 1)}
        records.append({**record, "id": sample.image_id} if i % 7 == 3 else record)
        if i % 6 == 2:  # another conversation of the same id
            about = [("Describe the image.", dialogue.detailed(sample.scene, sample.captions))]
            records.append({**record, "conversations": _conversation(about)})
    return records


def _write_llava(folder: Path, images: Path, samples: list[CaptionedScene], world: World) -> None:
    records = _llava_records(samples, world)
    records[1]["conversations"][-1]["value"] = ""  # a round without an answer
    write_json(folder / "llava_instruct_150k.json", [*records, {"id": "lost", "image": "lost.jpg"}])
    for sample in samples:
        write_bytes(images / _coco_name(sample), sample.jpeg())


def _write_llava_mix(folder: Path, images: Path, samples: list[CaptionedScene], world: World) -> None:
    """The kinds of rows take turns; a format prompt stands in the first round or in every one."""
    records: list[dict[str, Any]] = []
    for i, sample in enumerate(samples):
        rng = world.generator("llava_mix", sample.number)
        kind = i % 4
        name = (
            f"{('coco/train2017', 'gqa/images', 'ocr_vqa/images', 'textvqa/train_images')[kind]}/{sample.image_id}.jpg"
        )
        if kind == 0:
            turns = dialogue.talk(sample.scene, sample.captions, rng)
        elif kind == 1:
            every = i % 8 == 1
            asked = dialogue.short_questions(sample.scene, rng)
            turns = [(q + SHORT if every or not k else q, text.sentence(a)[:-1]) for k, (q, a) in enumerate(asked)]
        elif kind == 2:
            question, choices, place = dialogue.multiple_choice(sample.scene, rng)
            lines = "\n".join(f"{letter}. {choice}" for letter, choice in zip("ABCD", choices, strict=True))
            turns = [(f"{question}\n{lines}{LETTER}", "ABCD"[place])]
        else:
            turns = [(f"{ONE_SENTENCE}\nReference OCR token: STOP, TAXI", sample.captions[0])]
        write_bytes(images / name, sample.jpeg())
        records.append({"id": str(sample.image_id), "image": name, "conversations": _conversation(turns)})
        if i % 5 == 3:
            name = f"vg/VG_100K/{sample.image_id}.jpg"
            write_bytes(images / name, sample.jpeg())
            turns = dialogue.region_questions(sample.scene)
            records.append({"id": f"vg{i}", "image": name, "conversations": _conversation(turns)})
        if i % 5 == 4:
            lessons = dialogue.word_lessons()
            instruction, given, output = lessons[i % len(lessons)]
            turns = [(f"{instruction} {given}".strip(), output)]
            records.append({"id": f"words{i}", "conversations": _conversation(turns, image=False)})
    write_json(folder / "llava_v1_5_mix665k.json", records)


def _write_llavar(folder: Path, images: Path, samples: list[CaptionedScene], world: World) -> None:
    records = _llava_records(samples, world)[: len(samples) // 2]
    for sample in samples:
        rng = world.generator("llavar", sample.number)
        name = f"GCC_train_{sample.image_id:09d}.jpg"
        turns = dialogue.talk(sample.scene, sample.captions, rng)[:2]
        records.append({"id": name[:-4], "image": name, "conversations": _conversation(turns)})
    write_json(folder / "llava_instruct_150k_llavar_16k.json", [*records, records[-1]])
    for sample in samples:
        for name in (_coco_name(sample), f"GCC_train_{sample.image_id:09d}.jpg"):
            write_bytes(images / name, sample.jpeg())


def _write_sharegpt4v(folder: Path, images: Path, samples: list[CaptionedScene], world: World) -> None:
    asked = ("What do you see happening in this image?", "Describe the following image.", "How many things are there?")
    records = []
    for i, sample in enumerate(samples):
        own = (f"coco/train2017/{_coco_name(sample)}", f"sam/images/sa_{sample.image_id}.jpg")
        name = (*own, f"wikiart/images/{sample.image_id}.jpg")[i % 3]
        turns = [(asked[i % 3], dialogue.detailed(sample.scene, sample.captions))]
        if i % 3 == 2:
            turns = [(asked[2], turns[0][1].rpartition("\n")[2])]
        write_bytes(images / name, sample.jpeg())
        records.append({"id": str(sample.image_id), "image": name, "conversations": _conversation(turns)})
    records[2] = {**records[2], "image": "../outside.jpg"}
    write_json(folder / "sharegpt4v_instruct_gpt4-vision_cap100k.json", records)


def _write_unimm_chat(folder: Path, images: Path, samples: list[CaptionedScene], world: World) -> None:
    rows = []
    for i, sample in enumerate(samples):
        spoken = _conversation(
            dialogue.talk(sample.scene, sample.captions, world.generator("unimm_chat", sample.number))
        )
        said = json.dumps(spoken).replace("<image>", "<image >" if i % 3 else "<image>")
        said = said[: len(said) // 2] if i == 5 else said  # cut short
        rows.append({"image": {"bytes": sample.jpeg(), "path": None}, "conversation": said})
    _write_parquet(folder / "unimm_chat.parquet", rows, {"image": _Image, "conversation": pa.string()})


def _write_instructpix2pix(folder: Path, images: Path, samples: list[CaptionedScene], world: World) -> None:
    seeds: list[list[Any]] = []
    for i, sample in enumerate(samples):
        rng = world.generator("instructpix2pix", sample.number)
        name, seed = f"{sample.number:07d}", 31 * sample.image_id
        instruction, after, _ = dialogue.recoloured(sample.scene, rng)
        write_bytes(folder / name / f"{seed}_0.jpg", sample.jpeg())
        write_bytes(folder / name / f"{seed}_1.jpg", jpeg(after))
        if i != 6:  # a sample that lost its prompt
            write_json(folder / name / "prompt.json", {"caption": sample.captions[0], "edit": instruction})
        seeds.append([name, [str(seed)]])
    write_json(folder / "seeds.json", seeds)


def _write_magicbrush(folder: Path, images: Path, samples: list[CaptionedScene], world: World) -> None:
    rows: list[dict[str, Any]] = []
    for i, sample in enumerate(samples):
        rng = world.generator("magicbrush", sample.number)
        scene = sample.scene
        changed: list[int] = []
        for turn in range(1, 2 + i % 3):
            instruction, after, thing = dialogue.recoloured(scene, rng, tuple(changed))
            changed.append(thing)
            row = {"img_id": str(sample.image_id), "turn_index": turn, "instruction": instruction}
            sides = {"source_img": scene, "target_img": after}
            rows.append({**row, **{side: {"bytes": jpeg(shown), "path": None} for side, shown in sides.items()}})
            scene = after
    rows.pop(next(k for k, row in enumerate(rows) if row["turn_index"] == 3) - 1)  # a turn that is missing
    kinds = {"img_id": pa.string(), "turn_index": pa.int64(), "source_img": _Image, "instruction": pa.string()}
    _write_parquet(folder / "train-00000-of-00001.parquet", rows, {**kinds, "target_img": _Image})


def _write_alpaca(folder: Path, images: Path, samples: list[CaptionedScene], world: World) -> None:
    lessons = dialogue.word_lessons()[: len(samples)]
    records = [{"instruction": asked, "input": given, "output": said} for asked, given, said in lessons]
    write_json(folder / "alpaca_data.json", [*records, {"instruction": "Say nothing.", "input": "", "output": ""}])


def _write_sharegpt(folder: Path, images: Path, samples: list[CaptionedScene], world: World) -> None:
    """Conversations that begin with an answer, are written in HTML, come in parts, or are empty."""
    lessons = dialogue.word_lessons()
    records: list[dict[str, Any]] = []
    for i in range(len(samples)):
        spoken = []
        for asked, given, said in (lessons[i % len(lessons)], lessons[(i + 7) % len(lessons)]):
            spoken += _conversation([(f"{asked}\n{given}".strip(), said)], image=False)
        if i % 6 == 1:
            spoken.insert(0, {"from": "gpt", "value": "Hello."})
        if i % 6 == 2:
            spoken[1]["value"] = (
                f'<div class="markdown"><p>{spoken[1]["value"]}</p><ul><li>That is all.</li></ul></div>'
            )
        if i % 6 == 3:
            spoken.insert(1, {"from": "human", "value": "Be brief."})
        if i % 6 == 4:
            spoken.insert(0, {"from": "system", "value": "Answer in English."})
        records.append({"id": f"talk{i}", "conversations": spoken})
    write_json(folder / "ShareGPT_V3_unfiltered_cleaned_split.json", [*records, {"id": "none", "conversations": []}])


def _write_parquet(path: Path, rows: list[dict[str, Any]], columns: dict[str, pa.DataType]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(list(columns.items()))), path)


WRITERS = dict(
    zip(
        DATASETS,
        (
            *(_write_llava, _write_llava_mix, _write_llavar, _write_sharegpt4v, _write_unimm_chat, write_okvqa),
            *(write_gqa, write_ocrvqa, write_aokvqa, write_textcaps, write_laion_gpt4v, _write_instructpix2pix),
            *(_write_magicbrush, _write_alpaca, _write_sharegpt),
        ),
        strict=True,
    )
)
