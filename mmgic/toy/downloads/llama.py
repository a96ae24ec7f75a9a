"""models/llama-2-7b-hf: the toy language model as Hugging Face ships LLaMA-2.

Its tokenizer is sentencepiece's, trained on toy text with LLaMA's options: pieces of bytes for what it has not seen, a
mark at the start of each text, digits one by one. tokenizer.model is sentencepiece's own file, tokenizer.json the same
for Hugging Face's library. Weights are float16 in two shards; each layer carries `rotary_emb.inv_freq`, as in the
release, which no version of the library reads any more.
"""

from __future__ import annotations

import io
from pathlib import Path

import torch
from safetensors.torch import load_file
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
from torch import Tensor
from transformers import AutoTokenizer

from mmgic.toy.datasets.samples import write_bytes
from mmgic.toy.downloads.shards import added_token, write_pretty, write_shards
from mmgic.toy.downloads.vocabulary import rows_of
from mmgic.toy.models.corpus import whole_texts

PIECES = 1024  # LLaMA-2 has 32,000
_SPECIAL = ("<unk>", "<s>", "</s>")
_BYTES = 256
_SPACE = "▁"  # stands for a blank inside pieces
_SCENES, _SEED = 400, 100  # of the text that the pieces come from: the world that the toy Llama has read
_CHAT = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + message['content'] + "
    "' [/INST]' }}{% else %}{{ ' ' + message['content'] + ' ' + eos_token }}{% endif %}{% endfor %}"
)


def write_llama(folder: Path, weights: Path) -> None:
    """Writes `folder` from the toy Llama in `weights`, whose rows go to the pieces that spell the same."""
    model = _train_pieces()
    pieces = SentencePieceProcessor(model_proto=model)
    write_bytes(folder / "tokenizer.model", model)
    _fast_tokenizer(pieces).save(str(folder / "tokenizer.json"))
    _write_tokenizer_config(folder)
    state = load_file(weights / "model.safetensors")
    tokenizer = AutoTokenizer.from_pretrained(weights, local_files_only=True)
    texts = [_text(pieces, i) for i in range(PIECES)]
    layers = 1 + max(int(name.split(".")[2]) for name in state if name.startswith("model.layers."))
    width, heads = state["model.embed_tokens.weight"].shape[1], 5
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        start, end = (state[name][i] for i in (tokenizer.bos_token_id, tokenizer.eos_token_id))
        rows = rows_of(texts, tokenizer, state[name])
        rows[1], rows[2] = start, end
        state[name] = rows
    frequencies = 1 / 10000 ** (torch.arange(0, width // heads, 2) / (width // heads))
    state |= {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": frequencies.clone() for i in range(layers)}
    write_shards(folder, {name: state[name].half() for name in sorted(state, key=_layer)})
    _write_config(folder, state, layers, heads)


def _train_pieces() -> bytes:
    """tokenizer.model: byte-pair encoding with LLaMA's options."""
    model = io.BytesIO()
    SentencePieceTrainer.train(
        # line by line, as LLaMA's: a line break is no piece but a byte
        sentence_iterator=(line for text in whole_texts(_SEED, _SCENES) for line in text.splitlines()),
        model_writer=model,
        model_type="bpe",
        vocab_size=PIECES,
        byte_fallback=True,
        split_digits=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        character_coverage=0.99995,
        num_threads=1,  # the same bytes every time
        minloglevel=2,
    )
    return model.getvalue()


def _fast_tokenizer(pieces: SentencePieceProcessor) -> Tokenizer:
    """The pieces for the tokenizers library, as LLaMA-2's tokenizer.json has them."""
    vocabulary = {pieces.id_to_piece(i): i for i in range(PIECES)}
    model = models.BPE(vocabulary, _merges(vocabulary), unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(_SPACE), normalizers.Replace(" ", _SPACE)])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B:1", special_tokens=[("<s>", 1)]
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in _SPECIAL])
    return tokenizer


def _merges(vocabulary: dict[str, int]) -> list[tuple[str, str]]:
    """Pairs of pieces that join to a piece, in the order in which sentencepiece found the joined ones."""
    merges = []
    for piece in sorted(vocabulary, key=lambda piece: vocabulary[piece]):
        if vocabulary[piece] < len(_SPECIAL) + _BYTES:
            continue
        pairs = [(piece[:i], piece[i:]) for i in range(1, len(piece))]
        known = [pair for pair in pairs if pair[0] in vocabulary and pair[1] in vocabulary]
        merges += sorted(known, key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]))
    return merges


def _text(pieces: SentencePieceProcessor, piece: int) -> str:
    """What a piece spells; "" for a special one and for a byte that is no text by itself."""
    if piece < len(_SPECIAL):
        return ""
    if piece < len(_SPECIAL) + _BYTES:
        return bytes([piece - len(_SPECIAL)]).decode(errors="ignore")
    return str(pieces.id_to_piece(piece)).replace(_SPACE, " ")


def _write_tokenizer_config(folder: Path) -> None:
    unknown, start, end = map(added_token, _SPECIAL)
    config = {
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": start,
        "chat_template": _CHAT,
        "clean_up_tokenization_spaces": False,
        "eos_token": end,
        "legacy": False,
        "model_max_length": 10**30,
        "pad_token": None,
        "padding_side": "right",
        "sp_model_kwargs": {},
        "tokenizer_class": "LlamaTokenizer",
        "unk_token": unknown,
    }
    write_pretty(folder / "tokenizer_config.json", config)
    tokens = zip(("unk_token", "bos_token", "eos_token"), _SPECIAL, strict=True)
    plain = {name: {k: v for k, v in added_token(token).items() if k != "__type"} for name, token in tokens}
    write_pretty(folder / "special_tokens_map.json", plain)


def _write_config(folder: Path, state: dict[str, Tensor], layers: int, heads: int) -> None:
    width = state["model.embed_tokens.weight"].shape[1]
    config = {
        "_name_or_path": "meta-llama/Llama-2-7b-hf",
        "architectures": ["LlamaForCausalLM"],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": width,
        "initializer_range": 0.02,
        "intermediate_size": len(state["model.layers.0.mlp.gate_proj.weight"]),
        "max_position_embeddings": 4096,
        "model_type": "llama",
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "num_key_value_heads": heads,
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-05,
        "rope_scaling": None,
        "tie_word_embeddings": False,
        "torch_dtype": "float16",
        "transformers_version": "4.31.0.dev0",
        "use_cache": True,
        "vocab_size": PIECES,
    }
    write_pretty(folder / "config.json", config)
    generation = {
        "bos_token_id": 1,
        "do_sample": True,
        "eos_token_id": 2,
        "max_length": 4096,
        "pad_token_id": 0,
        "temperature": 0.6,
        "top_p": 0.9,
        "transformers_version": "4.31.0.dev0",
    }
    write_pretty(folder / "generation_config.json", generation)


def _layer(name: str) -> tuple[int, str]:
    """The order of a checkpoint's tensors: the embedding, layer by layer, the rest."""
    parts = name.split(".")
    if name == "model.embed_tokens.weight":
        return -1, name
    return (int(parts[2]), name) if parts[1] == "layers" else (1_000, name)
