"""The paper's runs. Their paths say where the downloads are expected; replace them with --set or --config."""

from __future__ import annotations

from dataclasses import replace

from mmgic.evaluation.registry import downloaded
from mmgic.settings import (
    CaptionSettings,
    ClusterSettings,
    EvaluationSettings,
    LabelSettings,
    ModelSettings,
    PixelTraining,
    Settings,
    SourceSettings,
    TokenizerTraining,
    TrainingSettings,
    VisionSettings,
)


def mmgic_7b() -> Settings:
    """The paper's MLLM-MMGIC (Table 1, row 3; Table 2, row 2; Table 7, row 1): LLaMA-2-7B on MMGIC.

        ray job submit -- python jobs/pretrain.py --preset mmgic-7b

    32 GPUs (A100-80G), about 11 h (Table 10).
    The paper's scores: CIDEr 118.30 on COCO and 102.01 on NoCaps; MS-COCO-30K FID 7.36, CLIP-T 31.57, CLIP-I 72.24;
    VIST FID 35.33, CLIP-I 66.10; MMLU 29.98 (C.8).
    """
    return Settings(
        preset="mmgic-7b",
        output="output/mmgic-7b",
        sources=detection_sources(),
        descriptions="data/descriptions.jsonl",
        labels=LabelSettings(names="data/names.tsv"),
        captions=CaptionSettings(blip2="models/blip2-opt-2.7b", clip="models/clip-vit-large-patch14"),
        vision=VisionSettings(checkpoint="models/lavit/visual_tokenizer"),
        model=ModelSettings(llm="models/llama-2-7b-hf"),
        # of an A100-80G, by Table 10: 4.46 B tokens in 11 h on 32
        cluster=ClusterSettings(tokens_per_second=3520, gpu_memory_gb=80),
        # for a tokenizer and a pixel decoder of your own
        tokenizer_training=TokenizerTraining(images="{output}/mmgic/cleaned", encoder="models/lavit/visual_tokenizer"),
        pixel_training=PixelTraining(start="models/lavit_imported/pixels_lowres"),
        evaluation=EvaluationSettings(benchmarks=downloaded("data")),
    )


def mmgic_7b_40g() -> Settings:
    """`mmgic-7b` for cards of 40 GB: every layer's activations are computed again in the backward pass, a third more
    work for an eighth of their memory."""
    settings = mmgic_7b()
    return replace(
        settings,
        preset="mmgic-7b-40g",
        training=replace(settings.training, name="pretrain-40g", gradient_checkpointing=1.0),
        cluster=replace(settings.cluster, gpu_memory_gb=40),
    )


def mmgic_ic_7b() -> Settings:
    """The paper's best collaboration (Table 2, row 6): jointly on MMGIC and IC, then on MMGIC.

        ray job submit -- python jobs/pretrain.py --preset mmgic-ic-7b --set language_model.base_url=URL

    32 GPUs (A100-80G), 42 h (derived from Table 10's 11 h for MMGIC and 20 h for IC).
    The paper's scores: CIDEr 121.22 on COCO and 105.33 on NoCaps; MS-COCO-30K FID 7.22, CLIP-T 31.91, CLIP-I 71.75;
    VIST FID 36.23, CLIP-I 65.79.

    IC's captions are merged by a language model (G.3), which no preset can know: set language_model.base_url.
    """
    settings = mmgic_7b()
    return replace(
        settings,
        preset="mmgic-ic-7b",
        output="output/mmgic-ic-7b",
        sources=(*settings.sources, *image_caption_sources()),
        training=TrainingSettings(curriculum="mmgic+ic -> mmgic"),
    )


def data_7b() -> Settings:
    """All data of Tables 13 to 15 and of C.6, for `mmgic build`: MMGIC, IC, MMC4 and the instructions."""
    settings = mmgic_ic_7b()
    return replace(
        settings,
        preset="data-7b",
        output="output/data-7b",
        sources=(*settings.sources, *interleaved_sources(), *instruction_sources()),
    )


def detection_sources() -> tuple[SourceSettings, ...]:
    """F.1: Open Images and Objects365 with BigDetection's boxes, V3Det, Visual Genome; train and dev splits (F.2)."""
    return (
        _source("open_images", annotations="bigdet_oid_train.json + bigdet_val.json"),
        _source(
            "objects365",
            "coco",
            annotations="bigdet_obj_train.json + bigdet_val.json | annotations/zhiyuan_objv2_*.json",
            image_names="objects365_v[12]_[0-9]+",  # not those that bigdet_val.json has of Open Images and LVIS
            images="train | val | images",  # the patches lie where their archives were unpacked
        ),
        _source("v3det", min_label_count=3, repeats=3),
        _source(
            "visual_genome",
            karpathy="data/karpathy/dataset_coco.json",
            flickr30k="data/flickr30k_entities",
            min_label_count=2,
            repeats=3,
        ),
    )


def image_caption_sources() -> tuple[SourceSettings, ...]:
    """G.1. Two pairs of BLIP's files: CC3M, CC12M and SBU, and LAION-115M."""
    return (
        _source(
            "blip_ccs",
            "blip_captions",
            path="data/blip_captions",
            annotations="ccs_filtered.json",
            captions="ccs_synthetic_filtered_large.json",
        ),
        _source(
            "blip_laion",
            "blip_captions",
            path="data/blip_captions",
            annotations="laion_filtered.json",
            captions="laion_synthetic_filtered_large.json",
        ),
        _source("capsfusion"),
        _source("laion_coco_aesthetic"),
        _source("journeydb", path="data/journeydb/data/train", images="imgs"),
    )


def interleaved_sources() -> tuple[SourceSettings, ...]:
    """C.6."""
    return (_source("mmc4"), _source("mmc4_pairs", corpus="mmc4_pairs", path="data/mmc4"))


def instruction_sources() -> tuple[SourceSettings, ...]:
    """Table 14, without what is played back.

    The sizes of its VQA rows (VQAv2 83 K, GQA 72 K, OK-VQA 9 K, OCR-VQA 80 K; A-OKVQA 66 K), of TextCaps (22 K) and
    ShareGPT (40 K) are those of LLaVA-1.5's mixture, so they are taken from it. Its other records are LLaVA's
    conversations, of which the 0.37 M of Table 14 fit the 80 K selection, and questions for places of regions.
    """
    return (
        _source(
            "llava_mix",
            "llava",
            path="data",
            annotations="llava/llava_v1_5_mix665k.json",
            images=".",  # its names begin with coco/, gqa/, ocr_vqa/ and textvqa/
            tasks=("open_vqa", "multiple_choice", "image_caption", "text_only"),
        ),
        _source("llava", path="data", annotations="llava/llava_instruct_80k.json", images="coco/train2017"),
        _source("llavar", "llava"),
        _source(
            "sharegpt4v",
            "llava",
            path="data",
            annotations="sharegpt4v/sharegpt4v_instruct_gpt4-vision_cap100k.json",
            images=".",  # its names begin with coco/, sam/ and the like
        ),
        *(_source(name) for name in ("unimm_chat", "laion_gpt4v", "instructpix2pix", "magicbrush", "alpaca")),
    )


def _source(name: str, format: str = "", **fields: object) -> SourceSettings:
    return SourceSettings(**{"name": name, "format": format or name, "path": f"data/{name}", **fields})  # type: ignore[arg-type]
