"""The training objective (Appendix E.1): L = visual_weight * L_V + L_T, and which tokens it is computed on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mmgic.model.vocabulary import VLVocabulary
from mmgic.schema import record_generator

IGNORE = -100
LOGITS_AT_ONCE = 1 << 26  # 256 MB in float32
ALIGNED = 128  # matrices whose sizes are multiples of it use all of a tensor core

# the modality that a sample generates, given the other
TARGET_IS_VISUAL = {"image_first": False, "text_first": True}


def draws_target_only(seed: int, mask_prob: float, row_id: int, repeat: int, visit: str) -> bool:
    """Whether this visit to a sample is supervised on its target modality alone (mask_prob, Figure 11).

    The draw is the visit's own: the same in every run with this seed, whatever worker or batch the sample lands in.
    """
    return record_generator(seed, "mask_prob", visit, str(row_id), repeat).random() < mask_prob


def target_labels(
    tokens: np.ndarray,
    template: str,
    answer_spans: Sequence[Sequence[int]],
    vocabulary: VLVocabulary,
    target_only: bool,
) -> np.ndarray:
    """The token that each position of one document has to predict, int64 [tokens]; IGNORE if nothing is supervised.

    `answer_spans` ([start, end) in `tokens`) if given are all that is supervised. Otherwise all tokens are, or with
    `target_only` those of the modality that the template generates. [IMG] and [/IMG] count as visual, in the loss as in
    `VLVocabulary.is_visual`: where an image begins and ends is part of generating it. So even with mask_prob = 1, if no
    image of an image-first document is learned, text-first documents teach where images begin and end; </s>, which is
    text, is then learned after text alone, and drawing ends at [/IMG].
    """
    supervised = np.ones(len(tokens), dtype=bool)
    if len(answer_spans):
        supervised[:] = False
        for start, end in answer_spans:
            supervised[start:end] = True
    elif target_only and template in TARGET_IS_VISUAL:
        supervised = vocabulary.is_visual(tokens) == TARGET_IS_VISUAL[template]
    labels = np.full(len(tokens), IGNORE, dtype=np.int64)
    labels[:-1] = np.where(supervised[1:], tokens[1:], IGNORE)
    return labels


def modality_loss_sums(hidden: Tensor, head: Tensor, labels: Tensor, first_visual: int) -> Tensor:
    """Cross entropy summed over the visual and over the text targets: float32 [2], (visual, text).

    `hidden` [tokens, width], `head` [vocabulary, width] in any type, `labels` int64 [tokens] with IGNORE. Only
    supervised positions meet the head, in the type of `hidden`, and never more than LOGITS_AT_ONCE logits exist at
    once: chunks are computed again in the backward pass.
    """
    positions = torch.nonzero(labels != IGNORE).squeeze(1)
    hidden, labels = hidden[positions], labels[positions]
    # one copy for all chunks, whose gradient is cast back once
    padded = F.pad(head.to(hidden.dtype), (0, 0, 0, -len(head) % ALIGNED))
    rows = max(1, LOGITS_AT_ONCE // len(padded))
    size = (len(head), first_visual)
    if len(labels) <= rows:
        return _loss_sums(hidden, padded, labels, *size)
    sums = [
        checkpoint(_loss_sums, *chunk, *size, use_reentrant=False)
        for chunk in zip(hidden.split(rows), [padded] * -(-len(labels) // rows), labels.split(rows), strict=True)
    ]
    return torch.stack(sums).sum(0)


def _loss_sums(hidden: Tensor, padded: Tensor, labels: Tensor, size: int, first_visual: int) -> Tensor:
    """`padded` is the head with rows of zeros behind its first `size`, which are no tokens."""
    losses = F.cross_entropy(F.linear(hidden, padded)[:, :size].float(), labels, reduction="none")
    visual = labels >= first_visual
    return torch.stack([losses[visual].sum(), losses[~visual].sum()])
