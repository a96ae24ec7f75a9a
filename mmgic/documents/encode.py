"""From segments to token ids.

Each text segment is tokenized by itself, without the tokenizer's own start and end tokens, so the ids of a document are
the ids of its segments one after the other and an evaluation prompt is an exact prefix of the documents trained on.
A sentencepiece tokenizer starts every segment with its word-start mark, in documents and prompts alike. Special tokens
spelled out in a text, such as "</s>" in a caption, are tokenized as plain characters.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

from mmgic.documents.cached_ids import cached_ids
from mmgic.documents.template import Segment
from mmgic.errors import InputError
from mmgic.model.visual_tokens import IMG, text_tokens
from mmgic.model.vocabulary import VLVocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def encode_texts(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """The ids of each text of `texts`."""
    return list(map(cached_ids(tokenizer), texts))


def encode_parts(
    tokenizer: PreTrainedTokenizerBase,
    vocabulary: VLVocabulary,
    parts: Sequence[Sequence[Segment]],
    images: Sequence[Sequence[int]],
) -> list[list[int]]:
    """The ids of each part of `parts`; `ImageSlot(k)` becomes [IMG], the ids of the codes `images[k]`, [/IMG]."""
    texts = [segment for segment in chain.from_iterable(parts) if isinstance(segment, str)]
    encoded = iter(encode_texts(tokenizer, texts)) if texts else iter(())
    return [
        list(
            chain.from_iterable(
                next(encoded) if isinstance(segment, str) else vocabulary.image_tokens(images[segment.index])
                for segment in part
            )
        )
        for part in parts
    ]


def encode_continuation(tokenizer: PreTrainedTokenizerBase, context: str, text: str) -> tuple[list[int], list[int]]:
    """The ids of the segment `context`, and the ids that `context + text` has beyond them.

    Raises InputError if `context`'s ids are no prefix of `context + text`'s: the tokenizer merges across the border.
    """
    ids_of = cached_ids(tokenizer)
    before, rest = ids_of(context), ids_of.after(context, text)
    if rest is not None:
        return before, rest
    whole = ids_of(context + text)
    if whole[: len(before)] != before:
        raise InputError(
            f"the tokenizer joins {context[-8:]!r} and {text[:8]!r} into one token; "
            "use a tokenizer that does not merge across spaces"
        )
    return before, whole[len(before) :]


def check_text_tokenizer(tokenizer: PreTrainedTokenizerBase, text_size: int) -> None:
    """Raises InputError if documents cannot be written with `tokenizer` for a language model of `text_size` tokens."""
    start_and_end(tokenizer)
    tokens = text_tokens(tokenizer)  # an exported model's tokenizer has visual ones after them
    if tokens > text_size:
        raise InputError(
            f"the text tokenizer has {tokens:,} tokens but its language model {text_size:,}: those beyond "
            "would be taken for visual tokens; fetch both from one place"
        )
    if tokens < text_size and len(tokenizer) > tokens:
        raise InputError(
            f"the text tokenizer has a token {IMG} of its own, with id {tokens}, where the visual one has {text_size}; "
            "rename it in its tokenizer.json"
        )


@functools.lru_cache(8)
def start_and_end(tokenizer: PreTrainedTokenizerBase) -> tuple[tuple[int, ...], int]:
    """The ids that begin a document, <s> or, of a tokenizer without one (Qwen's), none, and the id of </s>.

    Raises InputError if the tokenizer has no </s>.
    """
    if tokenizer.eos_token_id is None:
        raise InputError("the tokenizer has no eos_token; set it in its tokenizer_config.json")
    return () if tokenizer.bos_token_id is None else (tokenizer.bos_token_id,), tokenizer.eos_token_id
