"""The trained model's scores beside those of two controls."""

from __future__ import annotations

from pathlib import Path

from mmgic.evaluation.results import Results
from mmgic.evaluation.running import evaluate, visual_codes
from mmgic.settings import Settings
from mmgic.training.export import export_untrained


def score_with_controls(settings: Settings, model: Path) -> dict[str, Results]:
    """Scores the exported `model` and two controls; files under `<output>/evaluation/{untrained,other_image,trained}`.

    The controls are the model before training, written beside `model`, and `model` given another image's visual tokens:
    what is not above the second was learned from text alone.
    """
    untrained = model.with_name("model_untrained")
    if not untrained.exists():
        export_untrained(settings, untrained)
    folder, codes = Path(settings.output) / "evaluation", visual_codes(settings)
    return {
        "untrained": evaluate(settings, untrained, folder / "untrained", codes=codes),
        "other_image": evaluate(settings, model, folder / "other_image", control="other_image", codes=codes),
        "trained": evaluate(settings, model, folder / "trained", codes=codes),
    }
