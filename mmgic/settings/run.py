"""Everything one run needs, as groups of settings."""

from __future__ import annotations

from dataclasses import dataclass, field

from mmgic.settings.data import (
    CaptionSettings,
    CleaningSettings,
    DocumentSettings,
    DownloadSettings,
    InstructionSettings,
    LabelSettings,
    LanguageModelSettings,
    PhraseSettings,
    RegionSettings,
    SourceSettings,
)
from mmgic.settings.fields import Group, SettingsError, number, path
from mmgic.settings.models import (
    EvaluationSettings,
    LossSettings,
    ModelSettings,
    PixelTraining,
    TokenizerTraining,
    TrainingSettings,
    VisionSettings,
)


@dataclass(frozen=True)
class ClusterSettings(Group):
    """Where work runs. Counts are actors or training workers; a GPU count of 0 means CPU workers."""

    data_workers: int = number(8, 1)
    tokenizer_workers: int = number(8, 1)
    tokenizer_gpus: float = number(1.0, 0)
    language_model_workers: int = number(8, 1)  # that ask the language model for merged captions
    training_workers: int = number(32, 0)
    # if the cluster has no room for all, training goes on with as few and grows when it can; 0: with all or not at all
    fewest_training_workers: int = number(0, 0, at_most="training_workers")
    training_gpus: float = number(1.0, 0)
    gpu_memory_gb: float = number(0, 0)  # of a training card, for checks before a run starts; 0: as found when it does
    evaluation_gpus: float = number(1.0, 0)  # of the process that scores a model; 0: it computes on the CPU
    # that training waits for its workers' nodes; 0: ten minutes on a cluster with an autoscaler, else not at all
    wait_for_nodes_s: float = number(0, 0)
    tokens_per_second: float = number(0, 0)  # of one training worker, for the hours of a plan; 0: as the run was so far
    rows_per_block: int = number(2000, 1)
    max_error_rate: float = number(0.05, 0, 1)  # rejected share of rows above which a data stage stops with a message


@dataclass(frozen=True)
class ToySettings(Group):
    """The generated world that the toy presets run on."""

    scenes: int = number(0, 0)  # 0: the run uses real data
    seed: int = number(0, 0)


@dataclass(frozen=True)
class Settings(Group):
    """Everything one run needs. `output` is any fsspec path; each stage writes a folder under it."""

    preset: str = "mmgic-7b"
    output: str = path("output")
    seed: int = number(0, 0)
    toy: ToySettings = field(default_factory=ToySettings)
    sources: tuple[SourceSettings, ...] = ()
    descriptions: str = ""  # label descriptions, as `mmgic describe-labels` writes them
    cleaning: CleaningSettings = field(default_factory=CleaningSettings)
    regions: RegionSettings = field(default_factory=RegionSettings)
    captions: CaptionSettings = field(default_factory=CaptionSettings)
    language_model: LanguageModelSettings = field(default_factory=LanguageModelSettings)
    labels: LabelSettings = field(default_factory=LabelSettings)
    phrases: PhraseSettings = field(default_factory=PhraseSettings)
    download: DownloadSettings = field(default_factory=DownloadSettings)
    instructions: InstructionSettings = field(default_factory=InstructionSettings)
    vision: VisionSettings = field(default_factory=VisionSettings)
    documents: DocumentSettings = field(default_factory=DocumentSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    tokenizer_training: TokenizerTraining = field(default_factory=TokenizerTraining)
    pixel_training: PixelTraining = field(default_factory=PixelTraining)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.output.strip():
            raise SettingsError("'output' is empty; set it to the folder where the run writes its tables")
