"""The text tokenizer of a Hugging Face folder: LLaMA-2's sentencepiece model, a tokenizer.json, or both."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from mmgic.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# one of these holds the vocabulary: in Hugging Face's own form, sentencepiece's (LLaMA, T5), GPT-2's beside merges.txt
_VOCABULARIES = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json")
_BESIDE = ("merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


def text_tokenizer_files(folder: str | Path) -> list[Path]:
    """The files of `folder` that the ids of a text depend on."""
    return [path for path in (Path(folder) / name for name in _VOCABULARIES + _BESIDE) if path.is_file()]


@functools.cache
def load_text_tokenizer(folder: str | Path, setting: str = "model.llm") -> PreTrainedTokenizerBase:
    """The text tokenizer of a Hugging Face folder, loaded once in each process. It is not to be changed.

    `setting` names the folder in errors. Raises InputError if the folder holds no tokenizer that can be used.
    """
    from transformers import AutoTokenizer, LlamaTokenizer  # seconds, which a stage without a tokenizer should not wait

    folder = Path(folder)
    if not any((folder / name).is_file() for name in _VOCABULARIES):
        raise InputError(f"{setting} is '{folder}', which holds no tokenizer; put its files beside the weights")
    kind, options = AutoTokenizer, {}
    if (folder / "tokenizer.model").is_file() and not (folder / "tokenizer.json").is_file():
        # from a bare sentencepiece model AutoTokenizer would make one without LLaMA's <s> and mark at a text's start
        kind, options = LlamaTokenizer, {} if (folder / "tokenizer_config.json").is_file() else {"add_bos_token": True}
    try:
        tokenizer = kind.from_pretrained(str(folder), local_files_only=True, **options)
    except Exception as error:
        # tokenizers, sentencepiece and transformers each have errors of their own for files that do not fit
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{setting} is '{folder}', whose tokenizer cannot be used ({reason})") from None
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise InputError(f"{setting} is '{folder}', whose tokenizer has no tokens; fetch its files again")
    return _as_sentencepiece(tokenizer) if isinstance(tokenizer, LlamaTokenizer) else tokenizer


def _as_sentencepiece(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """`tokenizer`, a LlamaTokenizer, with the ids that the sentencepiece library gives.

    Transformers 5 rebuilds the tokenizer of such a folder with a Metaspace step, which puts no word-start mark before a
    text that begins with a space. LLaMA's sentencepiece model and the tokenizer.json that LLaMA-2 is shipped with do.
    The result is of a class that stores and loads its tokenizer.json as it is, so an export keeps the ids.
    """
    from tokenizers import normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    backend = tokenizer.backend_tokenizer
    step = backend.pre_tokenizer
    if isinstance(step, pre_tokenizers.Metaspace):
        starts = [normalizers.Prepend(step.replacement)] if step.prepend_scheme != "never" else []
        backend.normalizer = normalizers.Sequence([*starts, normalizers.Replace(" ", step.replacement)])
        backend.pre_tokenizer = None
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        **tokenizer.special_tokens_map,
        chat_template=tokenizer.chat_template,
        model_max_length=tokenizer.model_max_length,
        padding_side=tokenizer.padding_side,
        clean_up_tokenization_spaces=False,
    )
