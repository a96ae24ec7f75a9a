"""Caption synthesis on one core: its speed beside vLLM and plain Transformers, and what ranking is worth.

    python benchmarks/captions.py                       # the toy models, about two minutes of one CPU core
    python benchmarks/captions.py --language-layers 4 --language-width 384 --images 8      # a wider language model

Speed: candidates per second of CPU time, ten of each image, from decoded pixels to texts: ours (image and prefix
computed once for an image), `generate` on every image ten times over in batches of the same size, `generate` one
candidate at a time, and vLLM with n=10. With --language-layers the models get random weights and every candidate runs
to its last token. Quality (toy models alone): CIDEr of the chosen captions of unseen scenes, and when they were chosen.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from alternating import THREADS, Way, print_rates, rates

os.environ.update(HF_HUB_OFFLINE="1")
# vLLM in this process, so that its CPU time is counted like all other
os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_NO_USAGE_STATS="1", VLLM_LOGGING_LEVEL="ERROR")

import numpy as np
import torch
from PIL import Image
from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2Processor
from transformers.utils.logging import disable_progress_bar

from mmgic.captions.images import Pixels, ReadImage
from mmgic.captions.models import Captioner
from mmgic.captions.synthesis import RankedCaption, SynthesizeCaptions, fits
from mmgic.evaluation.scorers.cider import score_captions
from mmgic.presets import TOY_WEIGHTS
from mmgic.schema import KEPT, record_generator, row_id
from mmgic.settings import CaptionSettings
from mmgic.stages.rows import Row
from mmgic.toy.world.render import render
from mmgic.toy.world.scenes import make_scene
from mmgic.toy.world.text import captions as true_captions

WORLD_SEED = 0  # the presets' world; the toy models were trained on another one


def scene_rows(folder: Path, number: int) -> tuple[list[Row], list[list[str]]]:
    """Evaluation scenes as rows without captions, and five true captions of each."""
    rows: list[Row] = []
    references = []
    for i in range(number):
        scene = make_scene(WORLD_SEED, "eval", i)
        path = folder / f"{i}.png"
        render(scene).save(path)
        row = {"row_id": row_id("toy", str(i)), "source": "toy", "image_id": str(i), "image_path": str(path)}
        rows.append({**row, "caption": "", "candidates": [], **KEPT})
        references.append(true_captions(scene, record_generator(WORLD_SEED, "captions benchmark", "toy", str(i)), 5))
    return rows, references


def widened(folder: Path, layers: int, width: int) -> str:
    """The toy BLIP-2 with random weights and an OPT of another size."""
    toy = TOY_WEIGHTS / "blip2"
    config = Blip2Config.from_pretrained(toy)
    text = config.text_config
    text.num_hidden_layers, text.hidden_size, text.word_embed_proj_dim = layers, width, width
    text.ffn_dim, text.num_attention_heads, text.vocab_size = 4 * width, width // 64, 50272
    model = Blip2ForConditionalGeneration(config)
    model.save_pretrained(folder)
    Blip2Processor.from_pretrained(toy).save_pretrained(folder)
    return str(folder)


def our_way(settings: CaptionSettings, pixels: np.ndarray) -> Way:
    captioner = Captioner(settings, torch.device("cpu"))
    draws = np.random.default_rng(0).random((len(pixels), settings.candidates, settings.max_new_tokens), np.float32)

    def work() -> None:
        features = captioner.encode(pixels)
        for start in range(0, len(pixels), settings.images_per_batch):
            some = slice(start, start + settings.images_per_batch)
            captioner.propose(features[some], draws[some])

    return work


def library_ways(settings: CaptionSettings, images: list[Image.Image]) -> tuple[Way, Way]:
    """`Blip2ForConditionalGeneration.generate` in batches of the same size, and one candidate at a time."""
    model = Blip2ForConditionalGeneration.from_pretrained(settings.blip2, dtype=torch.float32).eval()
    processor = Blip2Processor.from_pretrained(settings.blip2)
    pixels = processor(images=images, return_tensors="pt")["pixel_values"]
    repeated = pixels.repeat_interleave(settings.candidates, dim=0)

    def work(inputs: torch.Tensor, size: int) -> None:
        for some in inputs.split(size):
            ids = model.generate(
                some, do_sample=True, top_p=settings.top_p, top_k=0, max_new_tokens=settings.max_new_tokens
            )
            processor.tokenizer.batch_decode(ids, skip_special_tokens=True)

    few = repeated[: settings.candidates]
    return lambda: work(repeated, settings.images_per_batch * settings.candidates), lambda: work(few, 1)


def vllm_way(settings: CaptionSettings, images: list[Image.Image]) -> Way:
    from vllm import LLM, SamplingParams

    llm = LLM(
        model=settings.blip2,
        dtype="float32",
        max_model_len=96,
        max_num_seqs=settings.images_per_batch * settings.candidates,
        limit_mm_per_prompt={"image": 1},
        distributed_executor_backend="uni",
        enforce_eager=True,
        kv_cache_memory_bytes=1 << 30,
        mm_processor_cache_gb=0,  # or a second run would find its images encoded
        enable_prefix_caching=True,
    )
    sampling = SamplingParams(n=settings.candidates, top_p=settings.top_p, max_tokens=settings.max_new_tokens, seed=0)

    def work() -> None:
        llm.reset_prefix_cache()
        prompts: list[Any] = [{"prompt": "", "multi_modal_data": {"image": image}} for image in images]
        llm.generate(prompts, sampling, use_tqdm=False)

    return work


def print_speed(settings: CaptionSettings, rows: list[Row], with_vllm: bool) -> None:
    read = ReadImage(settings, "caption")
    pixels = np.stack([ready.blip2 for ready in map(read, rows) if isinstance(ready, Pixels)])
    images = [Image.open(row["image_path"]).convert("RGB") for row in rows]
    batched, single = library_ways(settings, images)
    ways = {"ours": our_way(settings, pixels), "generate, batched": batched, "generate, one by one": single}
    if with_vllm:
        ways["vLLM, n=10"] = vllm_way(settings, images)
    amounts = dict.fromkeys(ways, len(images) * settings.candidates) | {"generate, one by one": settings.candidates}
    print_rates(rates(amounts, ways), "generate, batched", "candidates/s")


def print_quality(settings: CaptionSettings, rows: list[Row], references: list[list[str]]) -> None:
    read, synthesize = ReadImage(settings, "caption"), SynthesizeCaptions(settings, "caption", seed=0)
    made = synthesize([{**row, "prepared": read(row)} for row in rows])
    single = SynthesizeCaptions(replace(settings, rounds=1, min_score=-1, min_words=0), "caption", seed=0)
    first = single([{**row, "prepared": read(row)} for row in rows])
    rng = np.random.default_rng(0)
    anyone = [row["candidates"][int(rng.integers(len(row["candidates"])))]["caption"] for row in first]
    said = {"chosen by CLIP": [row["caption"] for row in made], "a random candidate": anyone}
    print(f"\n{'captions of ' + str(len(rows)) + ' unseen scenes':<32} {'CIDEr':>7}")
    for name, texts in said.items():
        print(f"{name:<32} {100 * score_captions(texts, references).cider:>7.1f}")
    chosen = [RankedCaption(**row["candidates"][0]) for row in made]
    rounds = Counter(candidate.round for candidate in chosen if fits(candidate, settings))
    for number, count in sorted(rounds.items()):
        print(f"{f'chosen in round {number + 1}':<32} {count / len(rows):>7.1%}")
    print(f"{'fallback':<32} {1 - sum(rounds.values()) / len(rows):>7.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=32, help="whose candidates are timed")
    parser.add_argument("--scenes", type=int, default=200, help="whose captions are scored")
    parser.add_argument("--min-score", type=float, default=0.65)
    parser.add_argument("--language-layers", type=int, help="time random weights of this size instead")
    parser.add_argument("--language-width", type=int, default=768)
    parser.add_argument("--no-vllm", action="store_true")
    flags = parser.parse_args()
    torch.set_num_threads(THREADS)
    disable_progress_bar()
    settings = CaptionSettings(
        blip2=str(TOY_WEIGHTS / "blip2"),
        clip=str(TOY_WEIGHTS / "clip_ranker"),
        dtype="float32",
        min_score=flags.min_score,
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows, references = scene_rows(folder, max(flags.images, flags.scenes))
        if flags.language_layers:
            settings = replace(settings, blip2=widened(folder / "wide", flags.language_layers, flags.language_width))
        print_speed(settings, rows[: flags.images], not flags.no_vllm)
        if not flags.language_layers:
            print_quality(settings, rows[: flags.scenes], references[: flags.scenes])


if __name__ == "__main__":
    main()
