"""The toy world's presets: all of it in minutes on two CPU cores. Same code as the paper's runs, other sizes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mmgic.evaluation.registry import downloaded
from mmgic.settings import (
    BenchmarkSettings,
    CaptionSettings,
    CleaningSettings,
    ClusterSettings,
    DocumentSettings,
    EvaluationSettings,
    InstructionSettings,
    LabelSettings,
    LanguageModelSettings,
    ModelSettings,
    PhraseSettings,
    PixelTraining,
    RegionSettings,
    Settings,
    SourceSettings,
    TokenizerTraining,
    ToySettings,
    TrainingSettings,
    VisionSettings,
)

WORLD = "{output}/world"  # "{output}" is filled in once the output folder is known
TOY_WEIGHTS = Path(__file__).resolve().parents[1] / "toy" / "weights"
TOY_WEIGHTS_SAY = "weights of the toy world, which have seen drawn scenes alone; what they make of photos means nothing"


def is_toy(folder: str | Path) -> bool:
    """Whether a model's folder is one of the packaged toy weights."""
    return Path(folder).resolve().is_relative_to(TOY_WEIGHTS)


def toy() -> Settings:
    """Four of the sources, then training and scores: what `make demo` runs."""
    return Settings(
        preset="toy",
        output="output/toy",
        toy=ToySettings(scenes=1600, seed=0),
        sources=(*toy_sources(), _source("image_captions", "webdataset")),
        descriptions=f"{WORLD}/descriptions.jsonl",
        captions=CaptionSettings(synthesize=False, merge=False),  # its images have captions
        labels=LabelSettings(names_by_synset=True),
        cleaning=CleaningSettings(min_short_side=64),
        regions=RegionSettings(min_patches=2, max_patches=6.5),  # the paper's 2 to 13 of 16, scaled to 8 patches
        instructions=InstructionSettings(playback=0, aesthetic=0),
        vision=VisionSettings(
            checkpoint=str(TOY_WEIGHTS / "tokenizer"), pixels=str(TOY_WEIGHTS / "pixels"), batch_size=64
        ),
        documents=DocumentSettings(max_tokens=512, system_prompt="You are a helpful assistant."),
        model=ModelSettings(llm=str(TOY_WEIGHTS / "llama"), lora_rank=16, lora_alpha=32, dtype="float32"),
        training=TrainingSettings(
            # pre-training on MMGIC and IC, then questions with captions played back, as in the paper; IC is passed
            # often, as its captions are few and short, and what a visual token shows is learned from them first
            curriculum="mmgic+4*ic -> 3*vqa+3*ic",
            batch_size=16,
            micro_batch_tokens=4096,
            learning_rate=3e-3,
            checkpoint_every=250,
        ),
        tokenizer_training=TokenizerTraining(
            images=f"{WORLD}/visual_genome",
            encoder=str(TOY_WEIGHTS / "clip"),
            cache=True,
            continuous_steps=250,
            quantized_steps=350,
            decoder_steps=1000,
            batch_size=64,
            learning_rate=1e-3,
            decoder="places",
            decoder_depth=2,
            target="head",
            dtype="float32",
            checkpoint_every=50,
        ),
        pixel_training=PixelTraining(
            start=str(TOY_WEIGHTS / "pixels"),
            steps=2800,
            batch_size=16,
            learning_rate=8e-4,
            warmup_steps=100,
            dtype="float32",
        ),
        evaluation=replace(toy_evaluation(), benchmarks=_scored_by_demo()),
        cluster=ClusterSettings(
            data_workers=2,
            tokenizer_workers=1,
            tokenizer_gpus=0,
            training_workers=2,
            training_gpus=0,
            evaluation_gpus=0,
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
            repeats=2,
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
            images="train2014",
        ),
    )


def toy_evaluation() -> EvaluationSettings:
    return EvaluationSettings(
        engine="transformers",
        prompt="mmgic",  # the questions that it is trained on beside MMGIC ask for no caption
        benchmarks=downloaded(WORLD),
        max_new_tokens=32,
    )


def _scored_by_demo() -> tuple[BenchmarkSettings, ...]:
    """What captions and questions are trained for; toy-all is scored on every benchmark."""
    return tuple(benchmark for benchmark in downloaded(WORLD) if benchmark.name in ("coco_captions", "pope"))


def toy_test() -> Settings:
    """The same in about a minute, for the tests: a few hundred scenes and a handful of training steps."""
    settings = toy()
    return replace(
        settings,
        preset="toy-test",
        output="output/toy-test",
        toy=ToySettings(scenes=96, seed=0),
        sources=toy_sources(),
        training=replace(
            settings.training,
            curriculum="vqa -> mmgic+vqa",
            max_steps=3,
            batch_size=8,
            micro_batch_tokens=2048,
            checkpoint_every=3,
        ),
        tokenizer_training=replace(
            settings.tokenizer_training, continuous_steps=2, quantized_steps=2, decoder_steps=2, batch_size=8
        ),
        pixel_training=replace(settings.pixel_training, steps=2, batch_size=2),
        evaluation=replace(toy_evaluation(), max_images=16),
        cluster=replace(settings.cluster, rows_per_block=32),
    )


def toy_all() -> Settings:
    """Every source of the paper in its own format, faults included, with all data stages; about ten minutes."""
    settings = toy()
    return replace(
        settings,
        preset="toy-all",
        output="output/toy-all",
        sources=(*toy_sources(), *_more_detection(), *_image_captions(), *_interleaved(), *_instructions()),
        captions=CaptionSettings(
            blip2=str(TOY_WEIGHTS / "blip2"),
            clip=str(TOY_WEIGHTS / "clip_ranker"),
            merge=False,  # its language model is started by hand: python -m mmgic.toy.models.language_model_server
            min_score=0.65,  # the toy CLIP's right captions lie about 0.68, those of other scenes below 0.5
            dtype="float32",
        ),
        language_model=LanguageModelSettings(cache="{output}/language_model.sqlite"),
        phrases=PhraseSettings(min_count=3, captions_per_phrase=5),  # 20 and 50, for a corpus of a hundred captions
        instructions=InstructionSettings(playback=500, aesthetic=50, unique=True),
        training=replace(settings.training, curriculum="mmgic+ic -> mmgic"),
        evaluation=toy_evaluation(),
        cluster=replace(settings.cluster, max_error_rate=0.2),  # the toy world has many faults on purpose
    )


def toy_sft() -> Settings:
    """Fine-tuning on every instruction dataset and on what is played back, after pre-training with toy-all, whose data
    it shares:

        mmgic pretrain --preset toy-all && mmgic finetune --preset toy-sft
    """
    settings = toy_all()
    return replace(
        settings,
        preset="toy-sft",
        training=replace(
            settings.training,
            name="sft",
            start="{output}/training/pretrain",
            curriculum="vqa+sft+aesthetic+playback",
            warmup_ratio=0.05,
        ),
    )


def _source(name: str, format: str = "", **fields: object) -> SourceSettings:
    return SourceSettings(**{"name": name, "format": format or name, "path": f"{WORLD}/{name}", **fields})  # type: ignore[arg-type]


def _more_detection() -> tuple[SourceSettings, ...]:
    return (
        _source("open_images", annotations="bigdet_oid_train.json + bigdet_val.json"),
        _source("objects365_v1", "coco", annotations="objects365_train.json", captions="captions.json", images="train"),
        _source("v3det", min_label_count=3, repeats=3),
        _source(
            "visual_genome_ambiguous",
            "visual_genome",
            captions="captions.json",
            karpathy=f"{WORLD}/visual_genome_ambiguous/dataset_coco.json",
            flickr30k=f"{WORLD}/visual_genome_ambiguous/flickr30k",
            min_label_count=2,
            repeats=3,
        ),
    )


def _image_captions() -> tuple[SourceSettings, ...]:
    return (
        _source("blip_captions", annotations="ccs_filtered.json", captions="ccs_synthetic_filtered_large.json"),
        _source("capsfusion"),
        _source("laion_coco_aesthetic"),
        _source("journeydb"),
        _source("cc3m"),
        _source("cc12m"),
        _source("sbu"),
        _source("webdataset"),
    )


def _interleaved() -> tuple[SourceSettings, ...]:
    return (_source("mmc4"), _source("mmc4_pairs", corpus="mmc4_pairs", path=f"{WORLD}/mmc4"))


def _instructions() -> tuple[SourceSettings, ...]:
    return (
        *(_source(name, "llava") for name in ("llava", "llava_mix", "llavar", "sharegpt4v")),
        *(_source(name) for name in ("unimm_chat", "okvqa", "gqa", "ocrvqa", "aokvqa", "textcaps", "laion_gpt4v")),
        _source("instructpix2pix"),
        _source("magicbrush"),
        _source("alpaca"),
        _source("sharegpt"),
    )
