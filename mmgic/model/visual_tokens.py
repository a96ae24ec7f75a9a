"""The visual tokens as tokens of a text tokenizer: [IMG], [/IMG] and one for each code, at the ids of `VLVocabulary`.

Documents and prompts are made of ids and need no names for them. An exported model's tokenizer has names, so that other
libraries read and write images as text. They are special tokens: `split_special_tokens`, with which documents are
encoded, takes them for plain characters, and `skip_special_tokens` leaves them out of a text.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mmgic.errors import InputError
from mmgic.model.vocabulary import VLVocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IMG, END_IMG = "[IMG]", "[/IMG]"
IMAGE_PLACE = IMG + END_IMG  # an image whose codes are not known yet


def code_token(code: int) -> str:
    return f"<code_{code}>"


def image_text(codes: Iterable[int]) -> str:
    """An image as text."""
    return f"{IMG}{''.join(map(code_token, codes))}{END_IMG}"


def text_tokens(tokenizer: PreTrainedTokenizerBase) -> int:
    """How many tokens there are before the visual ones, or in all if there are none."""
    return int(tokenizer.get_vocab().get(IMG, len(tokenizer)))


def with_visual_tokens(tokenizer: PreTrainedTokenizerBase, vocabulary: VLVocabulary) -> PreTrainedTokenizerBase:
    """A copy of `tokenizer` that knows the visual tokens. Texts without them have the ids that they had.

    Ids between the tokenizer's last and the first visual one, which some models have for the sake of round numbers, get
    names too. Raises InputError if an id or a name is taken.
    """
    from tokenizers import AddedToken

    extended = copy.deepcopy(tokenizer)
    first_free = max(extended.get_vocab().values()) + 1
    unused = [f"<unused_{i}>" for i in range(first_free, vocabulary.text_size)]
    visual = [IMG, END_IMG, *map(code_token, range(vocabulary.num_codes))]
    tokens = [AddedToken(name, special=True, normalized=False) for name in (*unused, *visual)]
    extended.add_tokens(tokens, special_tokens=True)
    if extended.convert_tokens_to_ids(visual) != list(range(vocabulary.img, vocabulary.size)):
        raise InputError(
            f"the text tokenizer has tokens of its own at the ids or under the names of the visual ones ({IMG} should "
            f"be {vocabulary.img}); use the tokenizer that belongs to the language model"
        )
    _begin_each_text_alike(extended)
    return extended


def _begin_each_text_alike(tokenizer: PreTrainedTokenizerBase) -> None:
    """Lets a text after an image begin as any text does. Documents are encoded text by text, but a Metaspace step that
    marks only the first word of all would leave out the mark after an image."""
    from tokenizers import pre_tokenizers

    step = tokenizer.backend_tokenizer.pre_tokenizer
    if isinstance(step, pre_tokenizers.Metaspace) and step.prepend_scheme == "first":
        step.prepend_scheme = "always"
        tokenizer.backend_tokenizer.pre_tokenizer = step
