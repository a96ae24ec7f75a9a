"""The stand-ins of released models: the same bytes every time, and what the libraries make of their files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mmgic.documents.encode import encode_texts
from mmgic.documents.prompts import line_stop_ids, option_ids
from mmgic.model.text_tokenizer import load_text_tokenizer
from mmgic.model.vl_llama import load_llama_config
from mmgic.toy.datasets.samples import World
from mmgic.toy.downloads.captioning import write_blip2, write_clip
from mmgic.toy.downloads.lavit import CONFIG, KEPT, write_lavit
from mmgic.toy.downloads.llama import PIECES, write_llama
from mmgic.toy.downloads.write import SCALE, WEIGHTS
from mmgic.toy.models.corpus import whole_texts
from mmgic.toy.world.render import render
from mmgic.vision.folders import load_config, load_tokenizer
from mmgic.vision.preprocess import preprocess


def _write(folder: Path) -> Path:
    world = World(0, scale=SCALE)
    write_lavit(folder / "lavit", world)
    write_llama(folder / "llama", WEIGHTS / "llama")
    write_blip2(folder / "blip2", WEIGHTS / "blip2")
    write_clip(folder / "clip", WEIGHTS / "clip_ranker", world)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write(tmp_path_factory.mktemp("models"))


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(folder)), path.read_bytes()


def test_the_same_bytes_every_time(models: Path, tmp_path: Path) -> None:
    assert dict(_files(_write(tmp_path))) == dict(_files(models))


def test_the_visual_tokenizer_has_its_sizes_without_a_config_and_keeps_a_third(models: Path) -> None:
    assert not (models / "lavit/config.json").exists()
    assert load_config(models / "lavit") == CONFIG
    scenes = World(0, scale=SCALE).samples(range(100, 108))
    pixels = torch.stack([preprocess(render(sample.scene), CONFIG.image_size) for sample in scenes])
    codes = load_tokenizer(models / "lavit").encode(pixels, generator=torch.Generator().manual_seed(0))
    kept = sum(map(len, codes)) / (len(codes) * CONFIG.patches)
    assert KEPT / 2 < kept < 1.5 * KEPT
    assert len(set(torch.cat(codes).tolist())) > CONFIG.codebook_size / 4


def test_sentencepieces_file_and_hugging_faces_give_the_same_ids(models: Path) -> None:
    from sentencepiece import SentencePieceProcessor

    folder = models / "llama"
    tokenizer = load_text_tokenizer(folder)
    pieces = SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    texts = [*whole_texts(3, 40), "A dog and 12 hats", "héllo\n\nwörld"]
    assert encode_texts(tokenizer, texts) == [pieces.encode(text) for text in texts]
    assert load_llama_config(folder).vocab_size == len(tokenizer) == PIECES
    assert list(map(len, option_ids(tokenizer, ("Yes", "No")))) == [1, 1]
    assert line_stop_ids(tokenizer) == [2, tokenizer.convert_tokens_to_ids("<0x0A>")]


@pytest.mark.parametrize("name", ["llama", "blip2"])
def test_the_index_of_the_shards_names_every_tensor_where_it_lies(models: Path, name: str) -> None:
    index = json.loads((models / name / "model.safetensors.index.json").read_text())
    shards = {file: load_file(models / name / file) for file in set(index["weight_map"].values())}
    assert len(shards) == 2
    assert {tensor: file for file, tensors in shards.items() for tensor in tensors} == index["weight_map"]
    total = sum(t.numel() * t.element_size() for tensors in shards.values() for t in tensors.values())
    assert index["metadata"]["total_size"] == total
