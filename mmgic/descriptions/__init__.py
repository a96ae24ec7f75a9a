"""Label descriptions (F.5): the labels of a built dataset, what a language model says of them, and what a person
decides."""

from typing import Literal, get_args

Kind = Literal["object", "attribute", "relationship"]
KINDS: tuple[Kind, ...] = get_args(Kind)
