"""models/blip2-opt-2.7b and models/clip-vit-large-patch14: the toy captioner and ranker as the hub ships those two.

Released processors and configs are older than the library: sizes of one number, keys and classes under former names.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import AutoTokenizer

from mmgic.toy.datasets.samples import World, write_bytes
from mmgic.toy.downloads.shards import added_token, write_pretty, write_shards
from mmgic.toy.downloads.vocabulary import rows_of

_MEAN, _STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
_OPT_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")  # ids 0 to 3 of every OPT
_LINE_BREAK = "Ċ"  # how byte-level vocabularies write it; BLIP-2's OPT ends a caption with it
_CLIP_PIECES = 1024  # CLIP has 49,408
_SCENES = 200  # whose captions CLIP's pieces come from
_START, _END = "<|startoftext|>", "<|endoftext|>"
# what CLIP splits a text into before it looks for pieces
_WORDS = r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


# ---------------------------------------------------------------- BLIP-2


def write_blip2(folder: Path, weights: Path) -> None:
    """Writes `folder` from the toy BLIP-2 in `weights`: OPT's special tokens, GPT-2's tokenizer files, float32."""
    tokenizer = json.loads((weights / "tokenizer.json").read_text(encoding="utf-8"))
    old: dict[str, int] = tokenizer["model"]["vocab"]
    vocabulary = {token: i for i, token in enumerate((*_OPT_SPECIAL, *(t for t in old if t not in _OPT_SPECIAL)))}
    image = len(vocabulary)
    _write_gpt2_tokenizer(folder, vocabulary, tokenizer["model"]["merges"], image)
    state = {name: tensor.float() for name, tensor in load_file(weights / "model.safetensors").items()}
    name = "language_model.model.decoder.embed_tokens.weight"
    rows = state[name]
    table = torch.stack([rows[old[t]] if t in old else rows.mean(dim=0) for t in vocabulary])
    # the toy's </s> both begins and ends a caption; OPT begins with </s> and ends with a line break, which is made the
    # likelier of the two
    table[vocabulary[_LINE_BREAK]] = 2 * rows[old["</s>"]]
    state[name] = torch.cat((table, rows[-1:]))
    write_shards(folder, dict(sorted(state.items())))
    config = json.loads((weights / "config.json").read_text(encoding="utf-8"))
    write_pretty(folder / "config.json", _blip2_config(config, vocabulary, image))
    generation = {"bos_token_id": 2, "eos_token_id": vocabulary[_LINE_BREAK], "pad_token_id": 1}
    version = {"transformers_version": "4.27.0.dev0"}
    write_pretty(folder / "generation_config.json", {"_from_model_config": True, **generation, **version})
    processor = {"num_query_tokens": config["num_query_tokens"], "processor_class": "Blip2Processor"}
    write_pretty(folder / "processor_config.json", processor)
    edge = config["vision_config"]["image_size"]
    write_pretty(folder / "preprocessor_config.json", _blip_processor(edge))


def _blip2_config(toy: Mapping[str, Any], vocabulary: Mapping[str, int], image: int) -> dict[str, Any]:
    text = {
        **toy["text_config"],
        "_name_or_path": "facebook/opt-2.7b",
        "architectures": ["OPTForCausalLM"],
        "bos_token_id": 2,
        "eos_token_id": vocabulary[_LINE_BREAK],
        "pad_token_id": 1,
        "prefix": "</s>",
        "torch_dtype": "float16",
        "vocab_size": image + 1,
    }
    own = {"image_token_index": image, "text_config": text, "torch_dtype": "float32"}
    return {**{k: v for k, v in toy.items() if k != "dtype"}, **own, "transformers_version": "4.47.0.dev0"}


def _blip_processor(edge: int) -> dict[str, Any]:
    return {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": _MEAN,
        "image_processor_type": "BlipImageProcessor",
        "image_std": _STD,
        "processor_class": "Blip2Processor",
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"height": edge, "width": edge},
    }


def _write_gpt2_tokenizer(folder: Path, vocabulary: dict[str, int], merges: list[list[str]], image: int) -> None:
    pairs = [(left, right) for left, right in merges]
    tokenizer = Tokenizer(models.BPE(vocabulary, pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="</s> $A", pair="</s> $A </s> $B", special_tokens=[("</s>", 2)]
    )
    special = [AddedToken(token, normalized=True, special=True) for token in ("<pad>", "</s>")]
    tokenizer.add_special_tokens([*special, AddedToken("<image>", normalized=False, special=True)])
    _write_tokenizer(folder, tokenizer, vocabulary, pairs)
    write_pretty(folder / "added_tokens.json", {"<image>": image})
    end, padding = added_token("</s>"), added_token("<pad>")
    config = {
        "add_bos_token": True,
        "add_prefix_space": False,
        "bos_token": end,
        "clean_up_tokenization_spaces": True,
        "eos_token": end,
        "errors": "replace",
        "model_max_length": 10**30,
        "pad_token": padding,
        "processor_class": "Blip2Processor",
        "tokenizer_class": "GPT2Tokenizer",
        "unk_token": end,
    }
    write_pretty(folder / "tokenizer_config.json", config)
    names = {"bos_token": "</s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "</s>"}
    write_pretty(folder / "special_tokens_map.json", names)


def _write_tokenizer(
    folder: Path, tokenizer: Tokenizer, vocabulary: dict[str, int], merges: list[tuple[str, str]]
) -> None:
    """tokenizer.json, and vocab.json and merges.txt, from which older versions of the library make it."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_bytes(folder / "vocab.json", json.dumps(vocabulary, ensure_ascii=False).encode())
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges)]
    write_bytes(folder / "merges.txt", "".join(f"{line}\n" for line in lines).encode())


# ---------------------------------------------------------------- CLIP


def write_clip(folder: Path, weights: Path, world: World) -> None:
    """Writes `folder` from the toy CLIP in `weights`: CLIP's tokenizer over captions of `world`, one safetensors file.

    As in the release, the end of a text has the highest id and config.json says 2 instead of it.
    """
    config = json.loads((weights / "config.json").read_text(encoding="utf-8"))
    tokenizer = _clip_tokenizer(world)
    vocabulary = tokenizer.get_vocab()
    pieces = sorted(vocabulary, key=lambda token: vocabulary[token])
    merges = [(left, right) for left, right in json.loads(tokenizer.to_str())["model"]["merges"]]
    _write_tokenizer(folder, tokenizer, {piece: vocabulary[piece] for piece in pieces}, merges)
    _write_clip_tokenizer_config(folder, config["text_config"]["max_position_embeddings"])
    state = {name: tensor.float() for name, tensor in load_file(weights / "model.safetensors").items()}
    name = "text_model.embeddings.token_embedding.weight"
    state[name] = _clip_rows(pieces, weights, state[name])
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    text = {**config["text_config"], "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1, "vocab_size": len(pieces)}
    own = {"text_config": text, "torch_dtype": "float32", "transformers_version": "4.16.0.dev0"}
    write_pretty(folder / "config.json", {**{k: v for k, v in config.items() if k != "dtype"}, **own})
    edge = config["vision_config"]["image_size"]
    processor = {
        "crop_size": edge,
        "do_center_crop": True,
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "CLIPFeatureExtractor",
        "image_mean": _MEAN,
        "image_std": _STD,
        "resample": 3,
        "size": edge,
    }
    write_pretty(folder / "preprocessor_config.json", processor)


def _clip_tokenizer(world: World) -> Tokenizer:
    captions = (caption for sample in world.samples(range(_SCENES)) for caption in sample.captions)
    vocabulary, merges = _clip_pieces(
        Counter(re.findall(r"[a-z]+|[^\sa-z]", " ".join(captions).lower())), _CLIP_PIECES - 2
    )
    model = models.BPE(
        vocabulary, merges, unk_token=_END, end_of_word_suffix="</w>", continuing_subword_prefix="", fuse_unk=False
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in (_START, _END)])
    end, start = ((token, len(vocabulary) + i) for i, token in ((1, _END), (0, _START)))
    tokenizer.post_processor = processors.RobertaProcessing(end, start, trim_offsets=False, add_prefix_space=False)
    return tokenizer


def _clip_pieces(words: Counter[str], size: int) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Byte-pair encoding of words whose last letter is marked: `size` pieces and the pairs that they were joined from.

    Of equally frequent pairs the first in alphabetical order is joined; the tokenizers library takes any.
    """
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: i for i, piece in enumerate([*letters, *(f"{letter}</w>" for letter in letters)])}
    split = {word: [*word[:-1], f"{word[-1]}</w>"] for word in words}
    merges: list[tuple[str, str]] = []
    while len(vocabulary) < size:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, pieces in split.items():
            for pair in pairwise(pieces):
                pairs[pair] += words[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        vocabulary.setdefault("".join(best), len(vocabulary))
        for pieces in split.values():
            for i in range(len(pieces) - 1, 0, -1):
                if tuple(pieces[i - 1 : i + 1]) == best:
                    pieces[i - 1 : i + 1] = ["".join(best)]
    return vocabulary, merges


def _clip_rows(pieces: list[str], weights: Path, table: Tensor) -> Tensor:
    """The toy's rows for CLIP's pieces: `dog</w>` is the toy's " dog"."""
    toy = AutoTokenizer.from_pretrained(weights, local_files_only=True)
    texts = [f" {piece.removesuffix('</w>')}" if piece.endswith("</w>") else piece for piece in pieces]
    rows = rows_of(texts, toy, table)
    rows[pieces.index(_START)], rows[pieces.index(_END)] = table[toy.bos_token_id], table[toy.eos_token_id]
    return rows


def _write_clip_tokenizer_config(folder: Path, longest: int) -> None:
    config = {
        "add_prefix_space": False,
        "bos_token": added_token(_START),
        "do_lower_case": True,
        "eos_token": added_token(_END),
        "errors": "replace",
        "model_max_length": longest,
        "pad_token": _END,
        "tokenizer_class": "CLIPTokenizer",
        "unk_token": added_token(_END),
    }
    write_pretty(folder / "tokenizer_config.json", config)
    names = {"bos_token": _START, "eos_token": _END, "pad_token": _END, "unk_token": _END}
    write_pretty(folder / "special_tokens_map.json", names)
