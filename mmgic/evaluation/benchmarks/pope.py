"""POPE: answers of an exported model by the probabilities of "Yes" and "No" (Appendix E.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmgic.documents.prompts import option_ids, question_prompt
from mmgic.errors import InputError
from mmgic.evaluation.exported_model import ExportedModel

OPTIONS = ("Yes", "No")


def answer_questions(
    model: ExportedModel,
    codes: Mapping[str, Sequence[int]],
    questions: Sequence[Mapping[str, Any]],
    system_prompt: str,
) -> list[dict[str, Any]]:
    """An answer record for each POPE question, in their order, about images whose visual codes are known by file name.

    The record is POPE's {"question", "answer"} with the question's id and the natural log-probabilities of both options
    beside. The more probable option is the answer, "Yes" where both are the same. Raises InputError where a
    probability is no number.
    """
    prompts = [
        question_prompt(model.tokenizer, model.vocabulary, codes[question["image"]], question["text"], system_prompt)
        for question in questions
    ]
    logprobs = model.engine.option_logprobs(prompts, option_ids(model.tokenizer, OPTIONS))
    if not np.isfinite(logprobs).all():
        raise InputError("the model's answer probabilities are not finite; its training has diverged")
    return [
        {
            "question_id": question["question_id"],
            "question": question["text"],
            "answer": OPTIONS[int(row.argmax())],
            "logprob_yes": float(row[0]),
            "logprob_no": float(row[1]),
        }
        for question, row in zip(questions, logprobs, strict=True)
    ]
