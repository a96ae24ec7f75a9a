"""What training runs are told, against what they will train on."""

from __future__ import annotations

from typing import Any, Literal

from mmgic.checks.problems import Findings
from mmgic.pipelines.common import corpora_of
from mmgic.settings import Settings
from mmgic.training.plan import stages_of
from mmgic.training.recipe import TrainingRecipe
from mmgic.training.start import check_start


def check_training(settings: Settings, findings: Findings) -> None:
    """Adds what is wrong with the curriculum, the start and the size of a micro batch."""
    training, longest = settings.training, settings.documents.max_tokens
    findings.attempt(lambda: check_start(settings))
    stages = findings.attempt(lambda: stages_of(training))
    made = corpora_of(settings)
    if stages and made:
        for corpus in sorted({term.corpus for stage in stages for term in stage} - made.keys()):
            findings.problem(
                f"'training.curriculum' is {training.curriculum!r}, but no source makes documents of the corpus "
                f"'{corpus}'; the sources make {', '.join(sorted(made))}"
            )
    if training.micro_batch_tokens < longest:
        findings.problem(
            f"training.micro_batch_tokens is {training.micro_batch_tokens}, less than a document may have "
            f"(documents.max_tokens is {longest}); raise the first or lower the second"
        )


def check_vision_training(settings: Settings, findings: Findings, kind: Literal["tokenizer", "pixels"]) -> None:
    """Adds what is wrong with the images, encoder and start of `tokenizer_training` or `pixel_training`."""
    from mmgic.training.recipes.pixel_decoder import PIXEL_DECODER
    from mmgic.training.recipes.visual_tokenizer import TOKENIZER

    recipe: TrainingRecipe[Any] = TOKENIZER if kind == "tokenizer" else PIXEL_DECODER
    findings.attempt(lambda: recipe.inputs(settings))
    findings.attempt(lambda: recipe.check(settings))
