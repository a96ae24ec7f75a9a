"""Trains the toy world's BLIP-2, which proposes captions, around the frozen image encoder of its CLIP.

    python jobs/train_toy_captioner.py --output mmgic/toy/weights/blip2

Costs about 5 minutes of one CPU core and 2 GB of memory. Leaves a Hugging Face BLIP-2 folder with its processor and
metrics.json: the command, the run, its loss, and the CIDEr of greedy captions of unseen scenes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch
from transformers import Blip2ForConditionalGeneration, Blip2Processor

from mmgic.evaluation.scorers.cider import score_captions
from mmgic.presets import TOY_WEIGHTS
from mmgic.toy.models.captioner import (
    Captioned,
    CaptionerRun,
    captioned_pictures,
    make_captioner,
    make_processor,
    save_half,
    train_captioner,
)
from mmgic.vision.folders import load_config
from mmgic.vision.preprocess import normalise


@torch.inference_mode()
def greedy_cider(folder: Path, pictures: Captioned) -> float:
    """CIDEr of the most likely captions of a saved model."""
    model = Blip2ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    processor = Blip2Processor.from_pretrained(folder, local_files_only=True)
    said: list[str] = []
    for pixels in pictures.pixels.split(50):
        ids = model.generate(normalise(pixels), max_new_tokens=48, do_sample=False)
        said += [text.strip() for text in processor.tokenizer.batch_decode(ids, skip_special_tokens=True)]
    print("\n".join(said[:5]), flush=True)
    return round(score_captions(said, pictures.captions).cider, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of the trained model")
    parser.add_argument("--clip", type=Path, default=TOY_WEIGHTS / "clip", help="folder of the image encoder")
    parser.add_argument("--steps", type=int, default=CaptionerRun.steps)
    parser.add_argument("--seed", type=int, default=CaptionerRun.seed)
    flags = parser.parse_args()
    torch.set_num_threads(1)
    run = CaptionerRun(seed=flags.seed, steps=flags.steps)
    size = load_config(flags.clip).image_size
    pictures = captioned_pictures(run.seed, "train", run.scenes, size, crops=True)
    processor = make_processor(run, [text for wordings in pictures.captions for text in wordings], size)
    model = make_captioner(run, processor, flags.clip)
    losses: list[float] = []
    started = time.process_time()

    def report(step: int, loss: float) -> None:
        losses.append(loss)
        if step % 50 == 0:
            recent = sum(losses[-50:]) / 50
            print(f"step {step}/{run.steps}: loss {recent:.3f}, {time.process_time() - started:.0f} s", flush=True)

    train_captioner(run, model, processor.tokenizer, pictures, report)
    seconds = time.process_time() - started
    save_half(model, processor, flags.output)
    metrics = {
        "command": f"python jobs/train_toy_captioner.py {' '.join(sys.argv[1:])}",
        "run": asdict(run),
        "seed": run.seed,
        "seconds": round(seconds),  # of CPU time
        "parameters": model.num_parameters(),
        "loss": round(sum(losses[-50:]) / len(losses[-50:]), 3),
        "greedy_cider_on_unseen_scenes": greedy_cider(
            flags.output, captioned_pictures(run.seed, "eval", 300, size, crops=False)
        ),
    }
    (flags.output / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    print(json.dumps(metrics, indent=1))


if __name__ == "__main__":
    main()
