"""Training speed beside what a user would pick instead: the same documents, start, trained layers and loss, each way in
a process of its own, in alternating rounds.

    python benchmarks/training.py                               # reduced widths on the CPU
    python benchmarks/training.py --model 7b --device cuda      # one GPU of 80 GB, 60 GB of disk
    python benchmarks/training.py --model 7b --device cuda --corpus ic --ablations

Ways: our loop under torchrun; the same through Ray Train; Transformers' Trainer with PEFT and DeepSpeed on padded rows,
on packed ones, and on packed ones with Liger's kernels if they are installed. Weights are random, of LLaMA-2-7B's shape
with LaVIT's 16,384 codes or of reduced widths. Documents have the paper's mean lengths (1,098 tokens in MMGIC, 160 in
IC, at most 2,048; reduced widths have an eighth of them), spread log-normally. Tokens are real ones, not padding; the
first steps are left out. Peers train a plain embedding where ours is factorized.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from alternating import THREADS, print_rates

# isort: split
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer, models
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from mmgic.model import attention, loss, vl_llama
from mmgic.model.vl_llama import LoraLinear
from mmgic.schema import DOCUMENT, KEPT
from mmgic.settings import Settings, load_settings, merge, to_yaml
from mmgic.training.export import export_untrained
from mmgic.training.metrics import read_metrics
from mmgic.training.recipes.pretrain import PRETRAINING
from mmgic.training.run import run
from mmgic.training.store import build_store, store_folder
from mmgic.training.worker import Worker
from mmgic.vision.folders import CODEBOOK, WEIGHTS_FILE

SHAPES = {
    "7b": ({"intermediate_size": 11008, "vocab_size": 32000}, 16384, 1),
    "reduced": (
        {
            "hidden_size": 256,
            "intermediate_size": 688,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "vocab_size": 1000,
        },
        512,
        8,
    ),
}  # config, codes, and by what documents are shorter
MEANS, LONGEST = {"mmgic": 1098, "ic": 160}, 2048  # tokens of a document
OURS = "ours, torchrun"
WAYS = [OURS, "ours, Ray Train", "Trainer, padded", "Trainer, packed", "Trainer, packed, Liger"]
# each is our loop under torchrun with one thing as it would be without us; settings, or what is undone in `undo`
ABLATIONS: dict[str, dict[str, Any]] = {
    "without compile": {"compile": "never"},
    "LoRA casts to float32": {},
    "norms return float32": {},
    "a loop over documents": {},
    "FlexAttention": {},
    "head not aligned": {},
    "F.linear_cross_entropy": {},
    "ZeRO-0": {"zero_stage": 0},
    "ZeRO-2": {"zero_stage": 2},
    "half of the layers checkpointed": {"gradient_checkpointing": 0.5},
    "all layers checkpointed": {"gradient_checkpointing": 1.0},
}
PEAKS = {"A100": 312e12, "H100": 989e12, "H200": 989e12}  # published, bfloat16 without sparsity


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="reduced", choices=list(SHAPES))
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--corpus", default="mmgic", choices=list(MEANS))
    parser.add_argument("--ablations", action="store_true", help="our loop with one thing undone at a time")
    parser.add_argument("--ways", nargs="+", default=WAYS, metavar="WAY", help="of: " + "; ".join(WAYS))
    parser.add_argument("--batch-size", type=int, default=16, help="documents of a step")
    parser.add_argument("--steps", type=int, help="timed ones; 50 on a GPU, 6 on the CPU")
    parser.add_argument("--warmup", type=int, help="steps before them; 5 on a GPU, 2 on the CPU")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", help=argparse.SUPPRESS)  # the way that this process measures
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    flags.steps = flags.steps or (50 if flags.device == "cuda" else 6)
    flags.warmup = flags.warmup or (5 if flags.device == "cuda" else 2)
    if flags.device == "cpu":
        torch.set_num_threads(THREADS)
    if flags.child:
        found = measure(flags.child, load_settings(Settings(), Path(flags.folder) / "settings.yaml"), flags)
        if int(os.environ.get("RANK", "0")) == 0:
            (Path(flags.folder) / "found.json").write_text(json.dumps(found))
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), flags)


def compare(folder: Path, flags: argparse.Namespace) -> None:
    settings = write_inputs(folder, flags)
    ways = [OURS, *ABLATIONS] if flags.ablations else flags.ways
    if find_spec("liger_kernel") is None:
        ways = [way for way in ways if "Liger" not in way]
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for number in range(flags.rounds):
        for way in ways if number % 2 == 0 else reversed(ways):
            runs[way].append(in_a_process(way, folder, flags))
            print(f"round {number + 1}, {way}: {runs[way][-1]['rate']:,.0f} tokens/s", flush=True)
    peak = runs[ways[0]][0]["matmul"]
    print(f"{runs[ways[0]][0]['where']}; {settings.training.micro_batch_tokens} tokens a micro batch, {flags.corpus}")
    print_rates({way: [one["rate"] for one in found] for way, found in runs.items()}, ways[0], "tokens/s")
    for way, found in runs.items():
        steps = sorted(second for one in found for second in one["seconds"])
        rate, one = median(one["rate"] for one in found), found[0]
        print(
            f"{way}: 4N-MFU {rate * flops(settings, 4) / peak:.1%}, 6N {rate * flops(settings, 6) / peak:.1%}"
            f"{of_published(one['where'], rate, settings)}; step {median(steps):.3f} s, p95 "
            f"{steps[int(0.95 * len(steps))]:.3f}; peak {one['peak'] / 1e9:.2f} GB {one['peak_of']}; waiting for "
            f"data {one['wait']:.2%}; first step after {one['first_step']:.0f} s; first loss {one['loss']:.4f}, "
            f"gradient norm {one['norm']:.4f}; graphs {one['graphs']}"
        )


def in_a_process(way: str, folder: Path, flags: argparse.Namespace) -> dict[str, Any]:
    """What `measure` finds. Raises CalledProcessError with the process's output if it fails."""
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1"] if "Ray" not in way else []
    given = ["--child", way, "--folder", str(folder)]
    for name in ("model", "device", "corpus", "batch_size", "steps", "warmup"):
        given += [f"--{name.replace('_', '-')}", str(getattr(flags, name))]
    environment = {
        **os.environ,
        "PYTORCH_ALLOC_CONF": "expandable_segments:True",
        "OMP_NUM_THREADS": os.environ["OMP_NUM_THREADS"] if flags.device == "cpu" else "8",
    }
    if flags.device == "cpu":
        environment |= {"CUDA_VISIBLE_DEVICES": "", "DS_ACCELERATOR": "cpu"}
    with (folder / "log.txt").open("w") as log:
        done = subprocess.run(
            [sys.executable, *start, __file__, *given], stdout=log, stderr=subprocess.STDOUT, env=environment
        )
    if done.returncode:
        raise SystemExit(f"{way} failed:\n{(folder / 'log.txt').read_text()[-3000:]}")
    found: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return found


def measure(way: str, settings: Settings, flags: argparse.Namespace) -> dict[str, Any]:
    """One run of `way`: step seconds without the first ones, real tokens per second, first loss and gradient norm."""
    began, where = time.time(), "CPU, one core"
    matmul = matmul_rate(torch.device(flags.device), getattr(torch, settings.model.dtype))
    if way.startswith("Trainer"):
        from training_peers import train_peer

        lines = train_peer(settings, Path(flags.folder) / "start", packed="packed" in way, liger="Liger" in way)
    else:
        lines = train_ours(way, settings)
    seconds = [line["seconds"] for line in lines[flags.warmup :]]
    peak, peak_of = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "of the process"
    if flags.device == "cuda":
        where = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}, torch {torch.__version__}"
        peak = torch.cuda.max_memory_allocated()
        peak_of = f"allocated, {torch.cuda.max_memory_reserved() / 1e9:.2f} reserved"
    return {
        "rate": sum(line["tokens"] for line in lines[flags.warmup :]) / sum(seconds),
        "seconds": seconds,
        "wait": median(line.get("data_wait", 0.0) for line in lines[flags.warmup :]),
        "loss": lines[0]["loss"],
        "norm": lines[0]["grad_norm"],
        "first_step": time.time() - began - sum(line["seconds"] for line in lines[1:]),
        "matmul": matmul,
        "where": f"{where}, matmul {matmul / 1e12:.3g} TFLOP/s",
        "peak": peak,
        "peak_of": peak_of,
        "graphs": torch._dynamo.utils.counters["stats"]["unique_graphs"],
    }


def train_ours(way: str, settings: Settings) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl of a new run."""
    changes = {"name": f"run_{time.time_ns()}", **ABLATIONS.get(way, {})}
    settings = merge(settings, {"training": changes, "cluster": {"training_workers": int("Ray" in way)}})
    if "Ray" in way:
        return read_metrics(Path(run(PRETRAINING, settings).run_folder))
    undo(way)
    folder = PRETRAINING.run_folder(settings)
    folder.mkdir(parents=True)
    device = torch.device("cuda", 0) if settings.cluster.training_gpus else torch.device("cpu")
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    worker = Worker(folder, settings.training, device, 0, 1, lambda _: None, lambda _: None)
    PRETRAINING.train(settings, worker)
    worker.close()
    torch.distributed.destroy_process_group()
    return read_metrics(folder)


def undo(way: str) -> None:
    """Makes one thing as it would be without us."""
    if way == "LoRA casts to float32":
        LoraLinear._cast_input_dtype = lambda self, x, dtype: x.to(dtype)
    elif way == "norms return float32":
        vl_llama._in_the_type_of_its_input = lambda module, inputs, output: output
    elif way == "a loop over documents":
        attention.varlen_attention = attention.document_loop
    elif way == "FlexAttention":
        attention.varlen_attention = attention.document_loop = flex_documents
    elif way == "head not aligned":
        loss.ALIGNED = 1
    elif way == "F.linear_cross_entropy":
        vl_llama.modality_loss_sums = library_loss_sums


def flex_documents(query: Tensor, key: Tensor, value: Tensor, borders: Tensor, longest: int, scale: float) -> Tensor:
    """`varlen_attention` by FlexAttention with a mask of blocks."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    document = torch.bucketize(torch.arange(len(query), device=query.device), borders, right=True)

    def sees(batch: Tensor, head: Tensor, position: Tensor, other: Tensor) -> Tensor:
        return (document[position] == document[other]) & (position >= other)

    mask = create_block_mask(sees, None, None, len(query), len(query), device=str(query.device))
    rows = (tensor.transpose(0, 1).unsqueeze(0) for tensor in (query, key, value))
    return flex_attention(*rows, block_mask=mask, scale=scale, enable_gqa=True)[0].transpose(0, 1)  # type: ignore


def library_loss_sums(hidden: Tensor, head: Tensor, labels: Tensor, first_visual: int) -> Tensor:
    """`modality_loss_sums` by PyTorch's chunked function, whose losses have the type of `hidden`."""
    positions = torch.nonzero(labels != loss.IGNORE).squeeze(1)
    hidden, labels = hidden[positions], labels[positions]
    options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=max(1, loss.LOGITS_AT_ONCE // len(head)))
    losses = F.linear_cross_entropy(hidden, head.to(hidden.dtype), labels, reduction="none", options=options).float()
    visual = labels >= first_visual
    return torch.stack([losses[visual].sum(), losses[~visual].sum()])


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP a second of square products, the best of several."""
    size = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = 0.0
    for _ in range(10 if device.type == "cuda" else 5):
        began = time.perf_counter()
        a @ b
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = max(best, 2 * size**3 / (time.perf_counter() - began))
    return best


def flops(settings: Settings, times: int) -> float:
    """Per token: `times` (4: frozen matrices have no gradients of weights; 6: as if they had) the parameters of the
    decoder's matrices, 6 those of LoRA and of the head."""
    config = LlamaConfig.from_pretrained(settings.model.llm)
    hidden, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    shapes = [(hidden, hidden)] * 4 + [(hidden, inner)] * 3
    matrices = layers * sum(a * b for a, b in shapes)
    lora = layers * settings.model.lora_rank * sum(a + b for a, b in shapes)
    codes = SHAPES["7b" if hidden == 4096 else "reduced"][1]
    return times * matrices + 6 * (lora + hidden * (config.vocab_size + 2 + codes))


def of_published(where: str, rate: float, settings: Settings) -> str:
    """The same of the peak that the card's maker gives."""
    for card, peak in PEAKS.items():
        if card in where:
            return f" (of {peak / 1e12:.0f} published: {rate * flops(settings, 4) / peak:.1%}, "
            f"{rate * flops(settings, 6) / peak:.1%})"
    return ""


def write_inputs(folder: Path, flags: argparse.Namespace) -> Settings:
    """A random Llama with a tokenizer, a codebook, documents and their store, settings, and the exported start."""
    shape, codes, shorter = SHAPES[flags.model]
    dtype = torch.bfloat16 if flags.device == "cuda" else torch.float32
    with torch.device(flags.device):
        torch.set_default_dtype(dtype)
        llama = LlamaForCausalLM(LlamaConfig(**shape))
        torch.set_default_dtype(torch.float32)
    llama.save_pretrained(folder / "llama")
    del llama
    words = {"<unk>": 0, "<s>": 1, "</s>": 2, **{f"w{i}": i for i in range(3, shape["vocab_size"])}}
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="<unk>")), **names)
    tokenizer.save_pretrained(folder / "llama")
    (folder / "tokenizer").mkdir()
    save_file({CODEBOOK: torch.randn(codes, 32)}, folder / "tokenizer" / WEIGHTS_FILE)
    steps = flags.warmup + flags.steps
    write_documents(folder / "documents", flags, flags.batch_size * steps, shape["vocab_size"], codes, shorter)
    settings = merge(
        Settings(output=str(folder / "output")),
        {
            "vision": {"checkpoint": str(folder / "tokenizer")},
            "model": {"llm": str(folder / "llama"), "dtype": str(dtype).removeprefix("torch.")},
            "training": {
                "batch_size": flags.batch_size,
                "micro_batch_tokens": 6144 // shorter,
                "max_steps": steps,
                "checkpoint_every": steps,
            },
            "loss": {"mask_prob": 0.0},
            "cluster": {"training_workers": 0, "training_gpus": float(flags.device == "cuda")},
        },
    )
    build_store([folder / "documents"], store_folder(settings), shape["vocab_size"] + 2 + codes)
    (folder / "settings.yaml").write_text(to_yaml(settings))
    export_untrained(settings, folder / "start")
    return settings


def write_documents(
    folder: Path, flags: argparse.Namespace, documents: int, text_size: int, codes: int, shorter: int
) -> None:
    """Documents of log-normally distributed lengths, a third of their tokens visual."""
    random = np.random.default_rng(0)
    mean, longest = MEANS[flags.corpus] / shorter, LONGEST // shorter
    rows = []
    for number in range(documents):
        length = int(np.clip(random.lognormal(np.log(mean) - 0.125, 0.5), 6, longest))
        visual = length // 3
        ids = [*random.integers(0, text_size, length - visual), *(text_size + 2 + random.integers(0, codes, visual))]
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
