"""The sizes of the language model in a Hugging Face folder.

It may be any decoder whose modules are named as Llama's are: the training model finds its parts by name.
"""

from __future__ import annotations

from pathlib import Path

from transformers import AutoConfig, PreTrainedConfig

from mmgic.errors import InputError

MODEL_TYPES = ("llama", "mistral", "qwen3")  # LLaMA-2 and Llama 3 are both "llama"


def load_llama_config(folder: str | Path) -> PreTrainedConfig:
    """Raises InputError if `folder` holds no model of MODEL_TYPES in Hugging Face's form."""
    if not folder:
        raise InputError("no language model is given; set model.llm to the Hugging Face folder of a Llama or its like")
    try:
        config = AutoConfig.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:
        # of a missing folder, of no JSON, of a field that has the wrong type: each of a kind of its own
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"{folder} is no Hugging Face model folder ({reason}); set model.llm to one that holds a Llama or its like"
        ) from None
    if config.model_type not in MODEL_TYPES:
        raise InputError(
            f"{folder} holds a model of type {config.model_type}, whose layers are not named as Llama's are; set "
            f"model.llm to the folder of one of type {', '.join(MODEL_TYPES)}"
        )
    return config


def check_window(config: PreTrainedConfig, longest: int) -> None:
    """Raises InputError if layers look back at fewer tokens than a document may have: training attends to all of it."""
    window = getattr(config, "sliding_window", None)
    if window and longest > window:
        raise InputError(
            f"documents.max_tokens is {longest}, but layers of {config.name_or_path} look back at {window} tokens; "
            f"lower it to {window}"
        )
