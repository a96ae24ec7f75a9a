"""Trains the toy world's CLIP that ranks captions; its image encoder starts as that of the toy CLIP.

    python jobs/train_toy_clip_ranker.py --output mmgic/toy/weights/clip_ranker

Costs about 2 minutes of one CPU core and 2 GB of memory. Leaves a Hugging Face CLIP folder with its processor and
metrics.json: the command, the run, its loss, how often the right caption of an unseen scene is the nearest of all, how
often it is nearer than itself with one word exchanged, and the cosines of right, almost right and wrong captions.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPModel, CLIPProcessor

from mmgic.presets import TOY_WEIGHTS
from mmgic.schema import record_generator
from mmgic.toy.models.captioner import Captioned, captioned_pictures, save_half
from mmgic.toy.models.clip_ranker import (
    RankerRun,
    image_embeddings,
    make_processor,
    make_ranker,
    text_embeddings,
    train_ranker,
    with_one_mistake,
)
from mmgic.vision.folders import load_config


@torch.inference_mode()
def retrieval(folder: Path, pictures: Captioned, seed: int) -> dict[str, Any]:
    """Scores of a saved model on pictures that it has not seen."""
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    tokenizer = CLIPProcessor.from_pretrained(folder, local_files_only=True).tokenizer
    rng = record_generator(seed, "toy clip ranker", "eval", "")
    right = [wordings[0] for wordings in pictures.captions]
    wrong = [with_one_mistake(caption, rng) for caption in right]
    images = image_embeddings(model, pictures.pixels)
    cosines = images @ text_embeddings(model, tokenizer, right).T
    of_right = cosines.diagonal()
    of_wrong = (images * text_embeddings(model, tokenizer, wrong)).sum(dim=1)
    of_others = cosines[~torch.eye(len(cosines), dtype=torch.bool)]
    found = cosines.argmax(dim=1) == torch.arange(len(cosines))

    def percentiles(values: Tensor) -> dict[str, float]:
        return {f"{share:.0%}": round(float(values.quantile(share)), 3) for share in (0.05, 0.25, 0.5, 0.75, 0.95)}

    return {
        "scenes": len(cosines),
        "image_to_text_top1": round(float(found.float().mean()), 3),
        "right_above_one_mistake": round(float((of_right > of_wrong).float().mean()), 3),
        "cosine_right": percentiles(of_right),
        "cosine_one_mistake": percentiles(of_wrong),
        "cosine_other_scene": percentiles(of_others),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of the trained model")
    parser.add_argument("--clip", type=Path, default=TOY_WEIGHTS / "clip", help="folder of the image encoder")
    parser.add_argument("--steps", type=int, default=RankerRun.steps)
    parser.add_argument("--seed", type=int, default=RankerRun.seed)
    flags = parser.parse_args()
    torch.set_num_threads(1)
    run = RankerRun(seed=flags.seed, steps=flags.steps)
    size = load_config(flags.clip).image_size
    pictures = captioned_pictures(run.seed, "train", run.scenes, size, crops=True)
    processor = make_processor(run, [text for wordings in pictures.captions for text in wordings], size)
    model = make_ranker(run, processor, flags.clip)
    losses: list[float] = []
    started = time.process_time()

    def report(step: int, loss: float) -> None:
        losses.append(loss)
        if step % 25 == 0:
            recent = sum(losses[-25:]) / 25
            print(f"step {step}/{run.steps}: loss {recent:.3f}, {time.process_time() - started:.0f} s", flush=True)

    train_ranker(run, model, processor.tokenizer, pictures, report)
    seconds = time.process_time() - started
    save_half(model, processor, flags.output)
    metrics = {
        "command": f"python jobs/train_toy_clip_ranker.py {' '.join(sys.argv[1:])}",
        "run": asdict(run),
        "seed": run.seed,
        "seconds": round(seconds),  # of CPU time
        "parameters": model.num_parameters(),
        "loss": round(sum(losses[-50:]) / len(losses[-50:]), 3),
        **retrieval(flags.output, captioned_pictures(run.seed, "eval", 300, size, crops=False), run.seed),
    }
    (flags.output / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    print(json.dumps(metrics, indent=1))


if __name__ == "__main__":
    main()
