"""Named settings as plain functions: the toy runs and the paper's."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mmgic.settings import (
    CleaningSettings,
    ClusterSettings,
    DocumentSettings,
    EvaluationSettings,
    InstructionSettings,
    ModelSettings,
    RegionSettings,
    Settings,
    SettingsError,
    SourceSettings,
    ToySettings,
    TrainingSettings,
    VisionSettings,
)

WORLD = "{output}/world"  # "{output}" is filled in once the output folder is known
TOY_WEIGHTS = Path(__file__).parent / "toy" / "weights"


def mmgic_7b() -> Settings:
    """The paper's MLLM-MMGIC: LLaMA-2-7B on MMGIC (Table 10), 32 GPUs, about 11 hours on A100-80G.

    The paths say where the downloads are expected; replace them with --set or --config.
    """
    detection = {"format": "coco", "path": "data/objects365", "annotations": "annotations/zhiyuan_objv2_train.json"}
    return Settings(
        preset="mmgic-7b",
        output="output/mmgic-7b",
        sources=(
            SourceSettings(name="objects365", **detection),  # type: ignore[arg-type]
            SourceSettings(
                name="visual_genome",
                format="visual_genome",
                path="data/visual_genome",
                karpathy="data/karpathy/dataset_coco.json",
                flickr30k="data/flickr30k_entities",
                min_label_count=2,
                repeats=3,
            ),
            SourceSettings(
                name="v3det",
                path="data/v3det",
                annotations="annotations/v3det_2023_v1_train.json",
                min_label_count=3,
                repeats=3,
            ),
        ),
        descriptions="data/descriptions.jsonl",
        vision=VisionSettings(checkpoint="models/lavit/visual_tokenizer"),
        model=ModelSettings(llm="models/llama-2-7b-hf"),
        evaluation=EvaluationSettings(
            captions="data/coco/annotations/captions_karpathy_test.json",
            caption_images="data/coco/val2014",
            pope=tuple(f"data/pope/coco_pope_{kind}.json" for kind in ("random", "popular", "adversarial")),
            pope_images="data/coco/val2014",
        ),
    )


def toy() -> Settings:
    """The whole road on the toy world, in minutes on two CPU cores. Same code as the paper's run, other sizes."""
    return Settings(
        preset="toy",
        output="output/toy",
        toy=ToySettings(scenes=2000, seed=0),
        sources=toy_sources(),
        descriptions=f"{WORLD}/descriptions.jsonl",
        cleaning=CleaningSettings(min_short_side=64),
        regions=RegionSettings(min_patches=2, max_patches=6.5),  # the paper's 2 to 13 of 16, scaled to 8 patches
        instructions=InstructionSettings(playback=0, aesthetic=0),
        vision=VisionSettings(checkpoint=str(TOY_WEIGHTS / "tokenizer"), batch_size=64),
        documents=DocumentSettings(max_tokens=512, system_prompt="You are a helpful assistant."),
        model=ModelSettings(llm=str(TOY_WEIGHTS / "llama"), lora_rank=16, lora_alpha=32, dtype="float32"),
        training=TrainingSettings(
            # the paper scores POPE after fine-tuning on instructions; here rounds of questions are part of training
            curriculum="vqa -> mmgic+vqa",
            batch_size=8,
            pack_tokens=512,
            rows_per_micro_batch=4,
            learning_rate=4e-3,
            checkpoint_every=250,
        ),
        evaluation=toy_evaluation(),
        cluster=ClusterSettings(
            data_workers=2,
            tokenizer_workers=1,
            tokenizer_gpus=0,
            training_workers=2,
            training_gpus=0,
            rows_per_block=250,
        ),
    )


def toy_sources() -> tuple[SourceSettings, ...]:
    """The toy world's datasets, in the folders that `mmgic toy make` writes."""
    return (
        SourceSettings(
            name="visual_genome",
            format="visual_genome",
            path=f"{WORLD}/visual_genome",
            captions="captions.json",
            min_label_count=2,
            repeats=3,
        ),
        SourceSettings(
            name="objects365",
            path=f"{WORLD}/objects365",
            annotations="annotations/zhiyuan_objv2_train.json",
            captions="captions.json",
        ),
        SourceSettings(
            name="vqav2",
            format="vqav2",
            corpus="vqa",
            path=f"{WORLD}/vqav2",
            annotations="v2_OpenEnded_mscoco_train2014_questions.json",
            answers="v2_mscoco_train2014_annotations.json",
            images="train2014",
        ),
    )


def toy_evaluation() -> EvaluationSettings:
    return EvaluationSettings(
        engine="transformers",
        captions=f"{WORLD}/coco/annotations/captions_val2017.json",
        caption_images=f"{WORLD}/coco/images/val2017",
        pope=tuple(f"{WORLD}/pope/coco_pope_{kind}.json" for kind in ("random", "popular", "adversarial")),
        pope_images=f"{WORLD}/coco/images/val2017",
        max_new_tokens=32,
    )


def toy_test() -> Settings:
    """The toy road in about a minute, for the tests: a few hundred scenes and a handful of training steps."""
    settings = toy()
    return replace(
        settings,
        preset="toy-test",
        toy=ToySettings(scenes=96, seed=0),
        training=replace(settings.training, max_steps=6, batch_size=8, checkpoint_every=3),
        evaluation=replace(settings.evaluation, max_images=16),
        cluster=replace(settings.cluster, rows_per_block=32),
    )


PRESETS: dict[str, Callable[[], Settings]] = {"toy": toy, "toy-test": toy_test, "mmgic-7b": mmgic_7b}


def preset(name: str) -> Settings:
    """The settings called `name`. Raises SettingsError that names the nearest preset."""
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.0)[0]
        raise SettingsError(f"unknown preset '{name}'; did you mean '{near}'? (all: {', '.join(PRESETS)})")
    return PRESETS[name]()
