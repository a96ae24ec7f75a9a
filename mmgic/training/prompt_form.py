"""In whose documents a trained model is asked for captions and pictures."""

from __future__ import annotations

from mmgic.exported.processor import read_form
from mmgic.pipelines.common import corpora_of
from mmgic.schema import Corpus
from mmgic.settings import Settings, load_settings
from mmgic.training.curriculum import parse_curriculum
from mmgic.training.metrics import SETTINGS_FILE
from mmgic.training.start import is_export

_FORMS: tuple[Corpus, ...] = ("sft", "mmgic", "ic", "mmc4")  # the first one that a model was trained on


def form_of_prompts(settings: Settings) -> Corpus:
    """Table 16's rounds for a model that saw instructions, MMGIC's template if it saw that, else IC's or MMC4's.

    What the run of `training.start` saw counts too. A corpus that the settings' sources do not make is taken for MMGIC.
    """
    seen = _corpora_seen(settings)
    return next(form for form in _FORMS if form in seen)


def _corpora_seen(settings: Settings) -> set[Corpus]:
    made, start = corpora_of(settings), settings.training.start
    stages = parse_curriculum(settings.training.curriculum)
    seen: set[Corpus] = {made.get(term.corpus, "mmgic") for stage in stages for term in stage}
    if start and is_export(start):
        seen.add(read_form(start))
    elif start:
        seen |= _corpora_seen(load_settings(settings, f"{start}/{SETTINGS_FILE}"))
    return seen
