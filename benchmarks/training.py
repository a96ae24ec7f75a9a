"""Training tokens per second of the loop, beside what the same batches cost in bare PyTorch.

    python benchmarks/training.py      # a toy-sized random Llama, about four minutes on one core
    python benchmarks/training.py --hidden 512 --layers 8 --steps 20 --device cuda --dtype bfloat16

One process, random weights and random documents, so nothing has to be there before. Three ways in turns: the loop as
pre-training runs it (store, packing, DeepSpeed, metrics); the same micro batches through the same model with nothing
but forward, backward and AdamW; and the same documents padded to rows, one document each, as without packing. The first
step of each is left out.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from alternating import ROUNDS, THREADS, print_rates

# isort: split
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from mmgic.model.assemble import untrained_model
from mmgic.model.vl_llama import VLLlama, trainable_summary
from mmgic.schema import DOCUMENT, KEPT
from mmgic.settings import Settings, merge
from mmgic.training.metrics import read_metrics
from mmgic.training.packing import MicroBatch
from mmgic.training.recipes.pretrain import PRETRAINING, make_batches
from mmgic.training.run import run
from mmgic.training.store import build_store, store_folder
from mmgic.vision.folders import CODEBOOK, WEIGHTS_FILE

BARE = "bare PyTorch, same micro batches"
TEXT_SIZE, NUM_CODES, CODE_WIDTH = 1000, 512, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=160)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--mean-tokens", type=int, default=250, help="of a document")
    parser.add_argument("--longest", type=int, default=512, help="tokens of the longest document; 4 fill a micro batch")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    flags = parser.parse_args()
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as folder:
        settings = write_inputs(Path(folder), flags)
        device = torch.device(flags.device)
        print(trainable_summary(untrained_model(settings)))
        batches = make_batches(settings, rank=0, workers=1)
        steps = [[micro.to(device) for micro in batches(step)] for step in range(flags.steps)]
        waited: list[float] = []
        ways = {
            "training loop": lambda number: loop_speed(settings, number, waited),
            BARE: lambda _: bare_speed(settings, device, steps, packed_loss),
            "bare PyTorch, one padded row a document": lambda _: bare_speed(settings, device, steps, padded_loss),
        }
        found: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(flags.rounds):
            for name in list(ways) if number % 2 == 0 else reversed(ways):
                found[name].append(ways[name](number))
    print(f"{flags.rounds} rounds in turns, {THREADS} thread; waiting for data {median(waited):.2%} of the loop's time")
    print_rates(found, BARE, "tokens/s")


def loop_speed(settings: Settings, number: int, waited: list[float]) -> float:
    """Tokens per second of a run of its own, without its first step; the share that it waits for data is added."""
    run_of_its_own = merge(settings, {"training": {"name": f"round_{number}"}})
    lines = read_metrics(Path(run(PRETRAINING, run_of_its_own).run_folder))[1:]
    seconds = sum(line["seconds"] for line in lines)
    waited.append(sum(line["data_wait"] * line["seconds"] for line in lines) / seconds)
    return float(sum(line["tokens"] for line in lines) / seconds)


def bare_speed(
    settings: Settings,
    device: torch.device,
    steps: Sequence[Sequence[MicroBatch]],
    loss: Callable[[VLLlama, MicroBatch], Tensor],
) -> float:
    """Real tokens per second of forward, backward and AdamW, without the first step."""
    model = untrained_model(settings).to(device)
    optimizer = torch.optim.AdamW(model.trained_parameters().values(), lr=1e-3)
    began = 0.0
    for number, micro_batches in enumerate(steps):
        if number == 1:
            _synchronize(device)
            began = time.perf_counter()
        for micro_batch in micro_batches:
            loss(model, micro_batch).backward()
        optimizer.step()
        optimizer.zero_grad()
    _synchronize(device)
    tokens = sum(len(micro_batch.ids) for micro_batches in steps[1:] for micro_batch in micro_batches)
    return tokens / (time.perf_counter() - began)


def packed_loss(model: VLLlama, batch: MicroBatch) -> Tensor:
    return model(batch.ids, batch.document_lengths, batch.labels).sum()


def padded_loss(model: VLLlama, batch: MicroBatch) -> Tensor:
    """The documents as equal rows: padding is computed like any other token and only its loss is left out."""
    longest = max(batch.document_lengths)
    lengths = list(batch.document_lengths)
    ids, labels = (
        torch.nn.utils.rnn.pad_sequence(tensor.split(lengths), batch_first=True, padding_value=value).flatten()
        for tensor, value in ((batch.ids, 0), (batch.labels, -100))
    )
    return model(ids, [longest] * len(lengths), labels).sum()


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def write_inputs(folder: Path, flags: argparse.Namespace) -> Settings:
    """A random Llama, codebook and store, and settings that train on them in this process."""
    config = LlamaConfig(
        vocab_size=TEXT_SIZE,
        hidden_size=flags.hidden,
        intermediate_size=flags.hidden * 8 // 3,
        num_hidden_layers=flags.layers,
        num_attention_heads=max(1, flags.hidden // 40),
    )
    LlamaForCausalLM(config).save_pretrained(folder / "llama")
    (folder / "tokenizer").mkdir()
    save_file({CODEBOOK: torch.randn(NUM_CODES, CODE_WIDTH)}, folder / "tokenizer" / WEIGHTS_FILE)
    write_documents(folder / "documents", flags.batch_size * flags.steps, flags.mean_tokens, flags.longest)
    settings = merge(
        Settings(output=str(folder / "output")),
        {
            "vision": {"checkpoint": str(folder / "tokenizer")},
            "model": {"llm": str(folder / "llama"), "lora_rank": 16, "dtype": flags.dtype},
            "training": {
                "batch_size": flags.batch_size,
                "micro_batch_tokens": 4 * flags.longest,
                "max_steps": flags.steps,
                "checkpoint_every": flags.steps,
            },
            "cluster": {"training_workers": 0, "training_gpus": float(flags.device == "cuda")},
        },
    )
    build_store([folder / "documents"], store_folder(settings), TEXT_SIZE + 2 + NUM_CODES)
    return settings


def write_documents(folder: Path, documents: int, mean: int, longest: int) -> None:
    """Documents of normally distributed lengths, a third of their tokens visual."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(documents):
        length = int(np.clip(random.normal(mean, mean / 3), 16, longest))
        visual = length // 3
        ids = [
            *random.integers(0, TEXT_SIZE, length - visual),
            *random.integers(TEXT_SIZE + 2, TEXT_SIZE + 2 + NUM_CODES, visual),
        ]
        rows.append(
            {
                **dict.fromkeys(DOCUMENT.names, None),
                "row_id": number,
                "repeat": 0,
                "source": "random",
                "corpus": "mmgic",
                "template": "text_first",
                "input_ids": ids,
                "answer_spans": [],
                "num_visual_tokens": visual,
                "num_text_tokens": length - visual,
                **KEPT,
            }
        )
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows, schema=DOCUMENT), folder / "part-0.parquet")


if __name__ == "__main__":
    main()
