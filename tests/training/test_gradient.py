"""The gradient of one step is the plain definition's on the global batch, whoever computes which part of it."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmgic.model.assemble import untrained_model, vocabulary_of
from mmgic.model.loss import draws_target_only
from mmgic.model.vl_llama import VLLlama
from mmgic.schema import DOCUMENT, KEPT, row_id
from mmgic.settings import Settings
from mmgic.training import loop
from mmgic.training.checkpoints import load_parameters
from mmgic.training.engine import AdamW
from mmgic.training.loop import Batches, optimizer_step
from mmgic.training.recipes.pretrain import PRETRAINING, make_batches
from mmgic.training.run import run
from mmgic.training.store import build_store

MakeRun = Callable[..., Settings]
TEXT_SIZE = 60
IMG, END_IMG, FIRST_CODE = 60, 61, 62


class Group:
    """A process group of threads: `all_reduce` sums what its `size` members bring, whenever all have come."""

    def __init__(self, size: int) -> None:
        self.size, self._barrier, self._brought = size, threading.Barrier(size), [torch.zeros(0)] * size
        self.member = threading.local()

    def all_reduce(self, tensor: Tensor) -> None:
        self._brought[self.member.rank] = tensor.clone()
        self._barrier.wait(60)
        total = torch.stack(self._brought).sum(0)
        self._barrier.wait(60)
        tensor.copy_(total)

    def get_world_size(self) -> int:
        return self.size


class AveragingEngine:
    """What the loop asks of DeepSpeed without ZeRO: gradients that are averaged over workers at a boundary."""

    device = torch.device("cpu")

    def __init__(self, model: VLLlama, group: Group) -> None:
        self.module, self._group = model, group
        self.optimizer = AdamW(model.parameters())

    def __call__(self, *inputs: Any) -> Tensor:
        losses: Tensor = self.module(*inputs)
        return losses

    def set_gradient_accumulation_boundary(self, last: bool) -> None:
        self._last = last

    def backward(self, loss: Tensor) -> None:
        loss.backward()
        if self._last:
            for parameter in self.module.trained_parameters().values():
                assert parameter.grad is not None, "a worker without documents must take part in every reduction"
                self._group.all_reduce(parameter.grad)
                parameter.grad /= self._group.size

    def zero_optimization_stage(self) -> int:
        return 0

    def step(self) -> None:
        pass


def step_of_workers(
    settings: Settings, model: VLLlama, workers: int, patch: pytest.MonkeyPatch
) -> tuple[list[tuple[float, float, float, int]], list[dict[str, Tensor]]]:
    """What `optimizer_step` returns and leaves as gradients in each of `workers` threads."""
    group = Group(workers)
    patch.setattr(loop, "dist", group)
    models = [copy.deepcopy(model) for _ in range(workers)]
    found: list[Any] = [None] * workers

    def work(rank: int) -> None:
        group.member.rank = rank
        batches = make_batches(settings, rank, workers)
        engine = AveragingEngine(models[rank], group)
        found[rank] = optimizer_step(engine, batches(0), settings.loss.visual_weight, IMG)

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found, [{name: p.grad for name, p in m.trained_parameters().items() if p.grad is not None} for m in models]


def plain_step(settings: Settings, model: VLLlama, batches: Batches) -> tuple[float, float, dict[str, Tensor]]:
    """The definition (Appendix E.1; Section 3.3 for answers): one document at a time, labels and means by hand."""
    model = copy.deepcopy(model)
    visual, text = [], []
    for visit in batches.plan.stage(0).visits(0):
        sample = batches.store.sample(visit.index)
        ids = torch.tensor(sample.tokens.astype(np.int64))
        target_only = draws_target_only(settings.seed, settings.loss.mask_prob, sample.row_id, 0, visit.name)
        log_probs = F.log_softmax(model.logits(ids, [len(ids)]), dim=-1)
        for position in range(1, len(ids)):
            is_visual = int(ids[position]) >= IMG
            if sample.answer_spans:
                learned = any(start <= position < end for start, end in sample.answer_spans)
            else:
                learned = not target_only or is_visual == (sample.template == "text_first")
            if learned:
                (visual if is_visual else text).append(-log_probs[position - 1, ids[position]])
    means = [torch.stack(losses).mean() if losses else torch.zeros(()) for losses in (visual, text)]
    (settings.loss.visual_weight * means[0] + means[1]).backward()
    gradients = {name: p.grad for name, p in model.trained_parameters().items() if p.grad is not None}
    return means[0].item(), means[1].item(), gradients


def document(number: int, template: str, ids: list[int], answers: list[list[int]], corpus: str) -> dict[str, Any]:
    name = {"row_id": row_id(corpus, str(number)), "source": corpus, "image_id": str(number), "repeat": 0}
    counts = {"num_visual_tokens": sum(i >= FIRST_CODE for i in ids), "num_text_tokens": len(ids), "num_regions": 0}
    form = {"corpus": corpus, "template": template, "with_descriptions": False, "text": ""}
    return {**name, **form, "input_ids": ids, "answer_spans": answers, **counts, **KEPT}


def write_store(output: Path, rows: list[dict[str, Any]]) -> None:
    (output / "documents").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=DOCUMENT), output / "documents" / "part-0.parquet")
    build_store([output / "documents"], output / "store" / Settings().documents.recipe, 78)


@pytest.fixture(scope="module")
def instructions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Conversations of two rounds about an image, and questions that are answered by one (corpus `drawn`)."""
    output, random, rows = tmp_path_factory.mktemp("instructions"), np.random.default_rng(1), []
    for number in range(12):
        image = [IMG, *random.integers(FIRST_CODE, 78, random.integers(1, 9)).tolist(), END_IMG]
        words = random.integers(3, TEXT_SIZE, 24).tolist()
        first, second = (int(n) for n in random.integers(1, 6, 2))
        ids = [1, *image, *words[:4], *words[4 : 4 + first], 2, *words[10:14], *words[14 : 14 + second], 2]
        start = 1 + len(image) + 4
        spans = [[start, start + first + 1], [start + first + 5, len(ids)]]
        rows.append(document(number, "question", ids, spans, "sft"))
        ids = [1, *words[:5], *image, 2]
        rows.append(document(number, "text_to_image", ids, [[6, len(ids)]], "drawn"))
    write_store(output, rows)
    return output


@pytest.mark.parametrize(
    ("corpus", "mask_prob", "visual_weight"),
    [
        ("mmgic+ic", 0.0, 0.1),
        ("mmgic+ic", 0.9, 0.1),
        ("mmgic+ic", 1.0, 0.7),
        ("sft", 0.9, 0.1),  # no visual target at all
        ("drawn", 0.9, 0.1),  # nearly all targets are visual
    ],
)
def test_a_step_has_the_gradient_of_the_definition(
    tiny_run: MakeRun,
    instructions: Path,
    tmp_path: Path,
    corpus: str,
    mask_prob: float,
    visual_weight: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path if "ic" in corpus else instructions
    loss = {"mask_prob": mask_prob, "visual_weight": visual_weight}
    settings = tiny_run(output, loss=loss, training={"curriculum": corpus, "batch_size": 6})
    model = untrained_model(settings)
    for parameter in model.trained_parameters().values():  # LoRA starts at zero, where half of it has no gradient
        parameter.data += 0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(parameter)))
    visual, text, expected = plain_step(settings, model, make_batches(settings))
    assert (visual == 0) == (corpus == "sft")
    norm = float(torch.cat([gradient.flatten() for gradient in expected.values()]).norm())
    for workers, micro_batch_tokens in ((1, 4096), (2, 48), (3, 4096), (8, 64)):
        sized = tiny_run(
            output,
            loss=loss,
            training={"curriculum": corpus, "batch_size": 6, "micro_batch_tokens": micro_batch_tokens},
        )
        for figures, gradients in zip(*step_of_workers(sized, model, workers, monkeypatch), strict=True):
            assert figures[:3] == pytest.approx((visual, text, norm), rel=1e-4)
            assert gradients.keys() == expected.keys()
            for name, gradient in gradients.items():
                assert (gradient - expected[name]).norm() <= 1e-4 * expected[name].norm() + 1e-8, (workers, name)


def test_images_begin_and_end_though_visual_tokens_are_masked(tiny_run: MakeRun, tmp_path: Path) -> None:
    """A text-first document teaches [IMG], the codes and [/IMG], an image-first one text and </s>."""
    begin, say = [20, 21], [30, 31]
    images = [[IMG, 62 + n % 4, 66 + n % 4, 70 + n % 4, END_IMG] for n in range(8)]
    rows = [document(n, "text_first", [1, 5 + n, *begin, *images[n], 2], [], "mmgic") for n in range(8)]
    rows += [document(8 + n, "image_first", [1, *images[n], *say, 5 + n, 2], [], "mmgic") for n in range(8)]
    write_store(tmp_path, rows)
    settings = tiny_run(
        tmp_path, loss={"mask_prob": 1.0, "visual_weight": 1.0}, training={"max_steps": 45, "checkpoint_every": 45}
    )
    model = untrained_model(settings)
    load_parameters(run(PRETRAINING, settings).checkpoint, model.trained_parameters())
    assert vocabulary_of(settings).img == IMG

    def follows(*ids: int) -> int:
        with torch.no_grad():
            return int(model.logits(torch.tensor(ids), [len(ids)])[-1].argmax())

    for n in range(8):
        assert follows(1, 5 + n, *begin) == IMG
        assert follows(1, 5 + n, *begin, *images[n][:4]) == END_IMG
        assert follows(1, 5 + n, *begin, *images[n][:3]) >= FIRST_CODE
        assert follows(1, *images[n]) == say[0]
        assert follows(1, *images[n], *say, 5 + n) == 2
