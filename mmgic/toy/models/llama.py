"""The toy world's frozen language model: a byte-level BPE tokenizer and a small plain Llama, trained on text alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from mmgic.documents.encode import encode_texts, start_and_end
from mmgic.settings.fields import Group, number
from mmgic.toy.models.corpus import passages, whole_texts
from mmgic.toy.models.making import StepPrinter

_IGNORED = -100


@dataclass(frozen=True)
class LlamaRun(Group):
    """What is trained and how; the defaults are the packaged model's."""

    seed: int = number(100, 0)  # of the world; another one than the presets'
    tokenizer_scenes: int = number(1500, 0)
    vocabulary: int = number(960, 0)
    hidden: int = number(160, 0)
    layers: int = number(4, 0)
    heads: int = number(5, 0)
    mlp_hidden: int = number(384, 0)
    positions: int = number(1024, 0)
    steps: int = number(1400, 0)
    batch_scenes: int = number(12, 0)
    learning_rate: float = number(2.5e-3, 0)
    warmup_steps: int = number(40, 0)


def make_llama(run: LlamaRun, output: Path) -> dict[str, object]:
    """Leaves a plain Llama folder with its tokenizer; the scores are the share of questions answered right from a
    description in words."""
    tokenizer = train_tokenizer(run)
    progress = StepPrinter(20, run.steps, "loss", "answer_loss")
    model = train_llama(run, tokenizer, progress)
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    return {
        "parameters": model.num_parameters(),
        **progress.means(),
        "accuracy_on_unseen_scenes": answer_accuracy(run, model, tokenizer, scenes=150),
    }


def train_tokenizer(run: LlamaRun) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with <s>, </s> and <pad>; like Llama's it puts <s> before a text when asked to."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=run.vocabulary,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(whole_texts(run.seed, run.tokenizer_scenes), trainer)
    bpe.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        model_max_length=run.positions,
        clean_up_tokenization_spaces=False,
    )


def encode_scene(tokenizer: PreTrainedTokenizerFast, seed: int, index: int) -> tuple[list[int], list[int]]:
    """The ids of one scene's text, and the same ids with all but the answers of instructions as -100."""
    start, end = start_and_end(tokenizer)
    ids: list[int] = []
    answers: list[int] = []
    for passage in passages(seed, index):
        encoded = encode_texts(tokenizer, [*passage.context, *passage.answer])
        context = [*start, *itertools.chain.from_iterable(encoded[: len(passage.context)])]
        answer = list(itertools.chain.from_iterable(encoded[len(passage.context) :]))
        ids += [*context, *answer, end]
        answers += [_IGNORED] * len(context) + (answer if passage.context else [_IGNORED] * len(answer)) + [_IGNORED]
    return ids, answers


def train_llama(
    run: LlamaRun, tokenizer: PreTrainedTokenizerFast, report: Callable[[int, float, float], None]
) -> LlamaForCausalLM:
    """Trains from scratch on scenes that are each seen once; `report` gets (step, loss, answer loss).

    The loss is the mean over all tokens plus the mean over the answers, which are few but what matters.
    """
    torch.manual_seed(run.seed)
    model = LlamaForCausalLM(_config(run, tokenizer))
    model.train()
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}],
        lr=run.learning_rate,
        betas=(0.9, 0.95),
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(_rate, run))
    for step, batches in enumerate(_steps(run, tokenizer)):
        optimizer.zero_grad()
        # each of the two means is over the whole step; padding stands at the end, where causal attention never looks
        counts = [sum(int((labels[k][:, 1:] != _IGNORED).sum()) for _, *labels in batches) for k in (0, 1)]
        means = torch.zeros(2)
        for ids, *labels in batches:
            logits = model(input_ids=ids).logits[:, :-1].flatten(0, 1)
            of_all, of_answers = (
                cross_entropy(logits, targets[:, 1:].flatten(), ignore_index=_IGNORED, reduction="sum") / count
                for targets, count in zip(labels, counts, strict=True)
            )
            (of_all + of_answers).backward()
            means += torch.stack((of_all.detach(), of_answers.detach()))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        report(step + 1, means[0].item(), means[1].item())
    return model.eval()


def _config(run: LlamaRun, tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=run.hidden,
        intermediate_size=run.mlp_hidden,
        num_hidden_layers=run.layers,
        num_attention_heads=run.heads,
        num_key_value_heads=run.heads,
        max_position_embeddings=run.positions,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
        initializer_range=0.06,  # about 1/sqrt(hidden); with 0.02 so narrow a model is slow to attend to anything
    )


def _rate(run: LlamaRun, step: int) -> float:
    """Linear warm-up, then a cosine down to a twentieth."""
    if step < run.warmup_steps:
        return (step + 1) / run.warmup_steps
    done = (step - run.warmup_steps) / max(1, run.steps - run.warmup_steps)
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done))


def _steps(run: LlamaRun, tokenizer: PreTrainedTokenizerFast) -> Iterator[list[tuple[Tensor, Tensor, Tensor]]]:
    """For each step its scenes, those of like length together: ids, ids as labels and answers, int64 [4, longest]."""
    for step in range(run.steps):
        first = step * run.batch_scenes
        samples = [encode_scene(tokenizer, run.seed, first + i) for i in range(run.batch_scenes)]
        samples.sort(key=lambda sample: len(sample[0]))
        yield [
            (
                _padded([ids for ids, _ in together], tokenizer.pad_token_id),
                _padded([ids for ids, _ in together], _IGNORED),
                _padded([answers for _, answers in together], _IGNORED),
            )
            for together in (samples[i : i + 4] for i in range(0, len(samples), 4))
        ]


def _padded(rows: list[list[int]], padding: int) -> Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [padding] * (longest - len(row)) for row in rows])


@torch.no_grad()
def answer_accuracy(
    run: LlamaRun, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, scenes: int
) -> dict[str, float]:
    """The share of "existence" and "colour" questions answered right on scenes beyond those of the training."""
    first = run.steps * run.batch_scenes
    right: dict[str, list[bool]] = {"existence": [], "colour": []}
    no_or_yes = {ids[0] for ids in encode_texts(tokenizer, [" Yes", " No"])}
    for index in range(first, first + scenes):
        ids, answers = encode_scene(tokenizer, run.seed, index)
        guesses = model(input_ids=torch.tensor([ids])).logits[0].argmax(-1).tolist()
        for guess, answer in zip(guesses, answers[1:], strict=False):
            if answer != _IGNORED:
                right["existence" if answer in no_or_yes else "colour"].append(guess == answer)
    return {kind: round(sum(hits) / len(hits), 3) for kind, hits in right.items()}
