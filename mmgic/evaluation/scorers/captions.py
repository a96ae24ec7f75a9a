"""The scores of captioning benchmarks: CIDEr and the verdict on each caption."""

from __future__ import annotations

from collections.abc import Sequence

from mmgic.evaluation.benchmark import Item, Judgement, Score, Scored
from mmgic.evaluation.scorers.cider import score_captions

RULE = "CIDEr-D on PTB tokens (pycocoevalcap)"


def scored_captions(items: Sequence[Item], answers: Sequence[str]) -> Scored:
    """CIDEr of the answers over all items, with the number of references that they were compared with."""
    found = score_captions(answers, [item.target for item in items])
    references = sum(len(item.target) for item in items)
    notes = ("CIDEr weighs words by the images that they are rare in: that of one image is always 0",)
    return Scored(
        {"CIDEr": Score(found.cider, "x100"), "references": Score(references, "count")},
        [Judgement(value, text.strip()) for value, text in zip(found.per_image, answers, strict=True)],
        notes if len(items) == 1 else (),
    )
