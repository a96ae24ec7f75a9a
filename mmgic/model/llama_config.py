"""The sizes of the language model in a Hugging Face folder."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoConfig, LlamaConfig

from mmgic.errors import InputError


def load_llama_config(folder: str | Path) -> LlamaConfig:
    """Raises InputError if `folder` is no Hugging Face Llama."""
    if not folder:
        raise InputError("no language model is given; set model.llm to a Hugging Face Llama folder")
    try:
        config = AutoConfig.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:
        # of a missing folder, of no JSON, of a field that has the wrong type: each of a kind of its own
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"{folder} is no Hugging Face model folder ({reason}); set model.llm to one that holds a Llama"
        ) from None
    if not isinstance(config, LlamaConfig):
        raise InputError(f"{folder} holds a {config.model_type} model; set model.llm to the folder of a Llama")
    return config
