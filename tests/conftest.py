"""Where all tests run, and fixtures that several test folders use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mmgic.settings import Settings

# Of every process that the tests start; set before any library reads it.
os.environ |= {
    "RAY_ADDRESS": "local",  # no test may meet a cluster that is not its own
    "OMP_NUM_THREADS": "1",  # sums of one order, and two processes of tests share the cores
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",  # at Ray's 2 s each report of a training run waits that long
    "RAY_raylet_start_wait_time_s": "120",  # on a busy machine a cluster takes longer than Ray's 30 s
    "RAY_USAGE_STATS_ENABLED": "0",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ray's tests are the longest: they come first, so that no process is left with one of them at the end. Before
    them come those of a process that has met no cluster yet."""
    items.sort(key=lambda item: (item.path.name != "test_session.py", item.path.parent.name != "ray"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real samples and reference values beside the checkout; tests that need it skip without."""
    folder = Path(__file__).resolve().parents[1].parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the reference folder beside the checkout")
    return folder


TEXT_SIZE, NUM_CODES, CODE_WIDTH = 60, 16, 6


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Settings]:
    """Makes settings of a training run on a tiny random Llama and two small random corpora, `mmgic` and `ic`.

    Call it with the output folder and with changes in the nested form of `mmgic.settings.merge`.
    """
    from mmgic.settings import Settings, merge

    parts = tmp_path_factory.mktemp("tiny")
    _write_tiny_llama(parts / "llama")
    _write_tiny_codebook(parts / "tokenizer")
    _write_tiny_store(parts / "output" / "store" / Settings().documents.recipe)

    def make(output: Path, **changes: Any) -> Settings:
        output.mkdir(parents=True, exist_ok=True)
        if not (output / "store").exists():
            (output / "store").symlink_to(parts / "output" / "store")
        settings = merge(
            Settings(preset="tiny", output=str(output), seed=3),
            {
                "vision": {"checkpoint": str(parts / "tokenizer")},
                "model": {"llm": str(parts / "llama"), "lora_rank": 4, "lora_alpha": 8, "dtype": "float32"},
                "training": {
                    "batch_size": 8,
                    "max_steps": 6,
                    "micro_batch_tokens": 64,
                    "learning_rate": 1e-2,
                    "checkpoint_every": 2,
                },
                "cluster": {"training_workers": 0, "training_gpus": 0, "evaluation_gpus": 0},
            },
        )
        return merge(settings, changes)

    return make


def _write_tiny_llama(folder: Path) -> None:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    config = LlamaConfig(
        vocab_size=TEXT_SIZE,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        bos_token_id=1,
        eos_token_id=2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    words = {word: i for i, word in enumerate(["<unk>", "<s>", "</s>", *(f"word{i}" for i in range(TEXT_SIZE - 3))])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)


def _write_tiny_codebook(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    folder.mkdir()
    codebook = torch.randn(NUM_CODES, CODE_WIDTH, generator=torch.Generator().manual_seed(0))
    save_file({"quantize.embedding.weight": codebook}, folder / "model.safetensors")


def _write_tiny_store(folder: Path) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from mmgic.model.vocabulary import VLVocabulary
    from mmgic.schema import DOCUMENT, KEPT, row_id
    from mmgic.training.store import build_store

    vocabulary = VLVocabulary(TEXT_SIZE, NUM_CODES)
    random = np.random.default_rng(0)
    rows = []
    for corpus, documents in (("mmgic", 24), ("ic", 17)):
        for number in range(documents):
            text = random.integers(3, TEXT_SIZE, random.integers(2, 30)).tolist()
            image = vocabulary.image_tokens(random.integers(0, NUM_CODES, random.integers(1, 12)))
            image_first = bool(random.integers(2))
            rows.append(
                {
                    "row_id": row_id(corpus, str(number)),
                    "source": corpus,
                    "image_id": str(number),
                    "repeat": 0,
                    "corpus": corpus,
                    "template": "image_first" if image_first else "text_first",
                    "with_descriptions": False,
                    "text": "",
                    "input_ids": [1, *(image + text if image_first else text + image), 2],
                    "answer_spans": [],
                    "num_visual_tokens": len(image) - 2,
                    "num_text_tokens": len(text) + 2,
                    "num_regions": 0,
                    **KEPT,
                }
            )
    documents_folder = folder.parent / "documents"
    documents_folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=DOCUMENT), documents_folder / "part-0.parquet")
    build_store([documents_folder], folder, vocabulary.size)


@pytest.fixture(scope="session")
def llama_2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the layout in which Hugging Face ships LLaMA-2, reduced in size; copy it to change it."""
    import mmgic.toy
    from mmgic.toy.downloads.llama import write_llama

    folder = tmp_path_factory.mktemp("llama_2") / "llama-2-7b-hf"
    folder.mkdir()
    write_llama(folder, Path(mmgic.toy.__file__).parent / "weights" / "llama")
    return folder
