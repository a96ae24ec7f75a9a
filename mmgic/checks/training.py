"""What a training run is told, against the documents that it will train on."""

from __future__ import annotations

from mmgic.checks.problems import Findings
from mmgic.pipelines.common import corpora_of
from mmgic.settings import Settings
from mmgic.training.plan import stages_of
from mmgic.training.start import check_start


def check_training(settings: Settings, findings: Findings) -> None:
    """Adds what is wrong with the curriculum, the start and the size of a micro batch."""
    training, longest = settings.training, settings.documents.max_tokens
    findings.attempt(lambda: check_start(settings))
    stages = findings.attempt(lambda: stages_of(training))
    made = corpora_of(settings)
    if stages and made:
        for corpus in sorted({term.corpus for stage in stages for term in stage} - made):
            findings.problem(
                f"'training.curriculum' is {training.curriculum!r}, but no source makes documents of the corpus "
                f"'{corpus}'; the sources make {', '.join(sorted(made))}"
            )
    if training.micro_batch_tokens < longest:
        findings.problem(
            f"training.micro_batch_tokens is {training.micro_batch_tokens}, less than a document may have "
            f"(documents.max_tokens is {longest}); raise the first or lower the second"
        )
