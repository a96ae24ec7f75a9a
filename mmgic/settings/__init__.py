"""Settings of every job: frozen dataclasses whose defaults are the paper's, with each field's range beside it.

A job's settings are a preset (`mmgic.presets`), then a YAML file over it, then `a.b=value` overrides.
"""

from mmgic.settings.data import (
    SYSTEM_PROMPT,
    CaptionSettings,
    CleaningSettings,
    DocumentSettings,
    DownloadSettings,
    InstructionSettings,
    LabelSettings,
    LanguageModelSettings,
    PhraseSettings,
    Recipe,
    RegionSettings,
    SourceSettings,
)
from mmgic.settings.fields import SettingsError, computed
from mmgic.settings.merge import load_settings, merge, to_yaml, with_absolute_paths
from mmgic.settings.models import (
    BenchmarkSettings,
    EvaluationSettings,
    LossSettings,
    ModelSettings,
    PixelTraining,
    RunSettings,
    StageSettings,
    TokenizerStage,
    TokenizerTraining,
    TrainingSettings,
    VisionSettings,
)
from mmgic.settings.run import ClusterSettings, Settings, ToySettings

__all__ = [
    "SYSTEM_PROMPT",
    "BenchmarkSettings",
    "CaptionSettings",
    "CleaningSettings",
    "ClusterSettings",
    "DocumentSettings",
    "DownloadSettings",
    "EvaluationSettings",
    "InstructionSettings",
    "LabelSettings",
    "LanguageModelSettings",
    "LossSettings",
    "ModelSettings",
    "PhraseSettings",
    "PixelTraining",
    "Recipe",
    "RegionSettings",
    "RunSettings",
    "Settings",
    "SettingsError",
    "SourceSettings",
    "StageSettings",
    "TokenizerStage",
    "TokenizerTraining",
    "ToySettings",
    "TrainingSettings",
    "VisionSettings",
    "computed",
    "load_settings",
    "merge",
    "to_yaml",
    "with_absolute_paths",
]
