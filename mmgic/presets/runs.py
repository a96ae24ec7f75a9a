"""The paper's runs by name: what each row of its tables is trained on, what that costs, and what it scored there.

A run lies in the output folder of its data under its own name, so runs on the same data share all tables, and those of
one recipe the token store. Table 10 gives hours on 32 A100-80G for MMGIC (11), IC (20) and fine-tuning (5) alone;
others are derived from them, by passes over each corpus, samples (IC-PART) or tokens (Table 15).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from mmgic.presets.paper import (
    detection_sources,
    image_caption_sources,
    instruction_sources,
    interleaved_sources,
    mmgic_7b,
)
from mmgic.settings import Recipe, Settings, SourceSettings, TrainingSettings

SFT_DATA = "sft+aesthetic"  # Section 3.3, without what is played back
SFT = f"{SFT_DATA}+playback"


@dataclass(frozen=True)
class PaperRun:
    """One run of the paper."""

    where: str  # in the paper
    output: str
    sources: Callable[[], tuple[SourceSettings, ...]]
    curriculum: str
    hours: str  # on 32 A100-80G
    scores: str = ""  # that the paper reports
    recipe: Recipe = "CLDR"
    start: str = ""  # the run that it fine-tunes, below output/

    def settings(self, name: str) -> Settings:
        settings = mmgic_7b()
        training = TrainingSettings(name=name, curriculum=self.curriculum)
        if self.start:
            training = replace(
                training,
                start=f"output/{self.start}",
                learning_rate=4e-4,
                warmup_ratio=0.05,
                batch_size=256,
            )
        return replace(
            settings,
            preset=name,
            output=f"output/{self.output}",
            sources=self.sources(),
            documents=replace(settings.documents, recipe=self.recipe),
            training=training,
        )

    def about(self, name: str) -> str:
        """The docstring of its preset."""
        job = "finetune" if self.start else "pretrain"
        lines = [
            f"{self.where}: {self.curriculum}" + (f", recipe {self.recipe}" if self.recipe != "CLDR" else "") + ".",
            "",
            f"    ray job submit -- python jobs/{job}.py --preset {name}",
            "",
            f"32 GPUs (A100-80G), {self.hours}." + (f" It goes on from output/{self.start}." if self.start else ""),
        ]
        return "\n".join([*lines, *([f"The paper's scores: {self.scores}."] if self.scores else [])])


def paper_runs() -> dict[str, Callable[[], Settings]]:
    """A preset for each entry of RUNS, with a docstring."""

    def preset_of(name: str, run: PaperRun) -> Callable[[], Settings]:
        def preset() -> Settings:
            return run.settings(name)

        preset.__name__, preset.__doc__ = name.replace("-", "_"), run.about(name)
        return preset

    return {name: preset_of(name, run) for name, run in RUNS.items()}


def _table(captions: str, generation: str) -> str:
    """Tables 1 and 2: two CIDEr scores; FID, CLIP-T, CLIP-I of MS-COCO-30K and FID, CLIP-I of VIST."""
    coco, nocaps = captions.split()
    fid, clip_t, clip_i, vist_fid, vist_clip = generation.split()
    return (
        f"CIDEr {coco} on COCO and {nocaps} on NoCaps; MS-COCO-30K FID {fid}, CLIP-T {clip_t}, CLIP-I {clip_i}; VIST "
        f"FID {vist_fid}, CLIP-I {vist_clip}"
    )


def _after_sft(captions: str, questions: str, generation: str, more: str = "") -> str:
    """Tables 3, 4 and 6; `more` is of Tables 5, 8 and 9."""
    names = ("VQAv2", "GQA", "VizWiz", "POPE", "MME", "MMBench", "ScienceQA-IMG", "SEED-Bench-IMG")
    answers = ", ".join(f"{name} {score}" for name, score in zip(names, questions.split(), strict=True))
    return f"{_table(captions, generation)}; {answers}{more}"


def _more(editing: str, questions: str) -> str:
    """Tables 5 and 8."""
    clip_t, clip_i, dino = editing.split()
    q_bench, hallusion = questions.split()
    return f"; DreamBench CLIP-T {clip_t}, CLIP-I {clip_i}, DINO {dino}; Q-Bench {q_bench}, HallusionBench {hallusion}"


def _ic_sources() -> tuple[SourceSettings, ...]:
    return (*detection_sources(), *image_caption_sources())


def _sft_sources() -> tuple[SourceSettings, ...]:
    """The instructions, and what MMGIC's documents and LAION-COCO-Aesthetic are played back of."""
    aesthetic = tuple(source for source in image_caption_sources() if source.name == "laion_coco_aesthetic")
    return (*detection_sources(), *aesthetic, *instruction_sources())


def _mmgic(where: str, recipe: Recipe, scores: str = "") -> PaperRun:
    return PaperRun(where, "mmgic-7b", detection_sources, "mmgic", "at most 11 h (derived)", scores, recipe)


def _order(where: str, curriculum: str, hours: str, scores: str = "") -> PaperRun:
    return PaperRun(where, "mmgic-ic-7b", _ic_sources, curriculum, hours, scores)


def _mmc4(where: str, curriculum: str, scores: str) -> PaperRun:
    return PaperRun(where, "mmc4-7b", interleaved_sources, curriculum, "an unpublished time", scores)


def _sft(where: str, start: str, curriculum: str, scores: str = "", recipe: Recipe = "CLDR") -> PaperRun:
    hours = "about 5 h (Table 10)" if curriculum == SFT else "about 1.8 h (derived)"
    return PaperRun(where, "sft-7b", _sft_sources, curriculum, hours, scores, recipe, start)


RUNS = {
    "mmgic-c-7b": _mmgic("Table 1, row 0; Table 7, row 0", "C", _table("113.64 99.11", "7.20 30.81 71.62 67.61 62.22")),
    "mmgic-cl-7b": _mmgic("Table 1, row 1", "CL", _table("113.67 96.80", "10.52 30.43 71.09 71.67 61.96")),
    "mmgic-cld-7b": _mmgic("Table 1, row 2", "CLD", _table("116.02 98.61", "8.92 30.89 71.60 51.89 64.30")),
    "mmgic-cod-7b": _mmgic("Appendix D.3, object labels and descriptions alone", "COD"),
    "mmgic-ldr-7b": _mmgic("Section 4.4, fine-grained annotations alone (FG)", "LDR"),
    "ic-part-7b": _order(
        "Table 2, row 0 (IC-PART)",
        "ic[4.06M]",
        "1.6 h (derived)",
        _table("95.74 85.00", "11.62 29.94 68.21 64.03 63.41"),
    ),
    "ic-7b": _order(
        "Table 2, row 1", "ic", "about 20 h (Table 10)", _table("104.15 92.24", "7.65 31.40 70.27 41.65 65.06")
    ),
    "joint-7b": _order(
        "Table 2, row 3", "mmgic+ic", "31 h (derived)", _table("106.45 92.98", "7.11 31.65 70.93 36.54 65.89")
    ),
    "mmgic-to-ic-7b": _order(
        "Table 2, row 4", "mmgic -> ic", "31 h (derived)", _table("105.62 93.77", "7.29 31.57 70.26 37.45 65.88")
    ),
    "ic-to-mmgic-7b": _order(
        "Table 2, row 5", "ic -> mmgic", "31 h (derived)", _table("120.84 105.59", "7.13 31.96 71.54 37.13 65.62")
    ),
    "joint-2x-7b": _order("Appendix B.2", "2*mmgic+ic", "42 h (derived)"),
    "joint-3x-7b": _order("Appendix B.2", "3*mmgic+ic", "53 h (derived)"),
    "joint-4x-7b": _order("Appendix B.2", "4*mmgic+ic", "64 h (derived)"),
    "joint-3x-to-mmgic-7b": _order("Appendix B.2", "3*mmgic+ic -> mmgic", "64 h (derived)"),
    "mmc4-7b": _mmc4(
        "Table 7, row 3", "mmc4", "MS-COCO-30K FID 17.81, CLIP-T 28.68, CLIP-I 68.48; VIST FID 40.31, CLIP-I 66.00"
    ),
    "mmc4-pairs-7b": _mmc4(
        "Table 7, row 2",
        "mmc4_pairs",
        "MS-COCO-30K FID 16.55, CLIP-T 29.32, CLIP-I 69.13; VIST FID 101.68, CLIP-I 60.43",
    ),
    "sft-7b": _sft(
        "Tables 3 and 4, MLLM-MMGIC; multi-grained annotations (MG) of Figures 5 and 9",
        "mmgic-7b/training/pretrain",
        SFT,
        _after_sft(
            "119.35 104.19",
            "70.13 56.84 51.14 83.25 1636.47 58.51 65.79 60.03",
            "6.79 31.63 72.44 34.32 67.66",
            _more("27.69 82.62 67.36", "57.59 30.37") + "; MMLU 46.50, where LLaMA-2-7B has 46.22",
        ),
    ),
    "sft-mmgic-ic-7b": _sft(
        "Tables 3 and 4, MLLM-MMGIC & IC",
        "mmgic-ic-7b/training/pretrain",
        SFT,
        _after_sft(
            "122.31 106.97",
            "70.57 56.97 52.66 85.09 1668.19 59.88 66.24 60.75",
            "7.29 31.54 72.03 34.39 67.19",
            _more("27.62 83.06 68.30", "58.26 33.39"),
        ),
    ),
    "sft-ic-7b": _sft(
        "Tables 3 and 4, MLLM-IC, which is Table 6, row 0: nothing is played back",
        "mmgic-ic-7b/training/ic-7b",
        SFT_DATA,
        _after_sft(
            "108.13 92.71",
            "70.28 56.02 52.62 81.14 1646.71 59.54 65.94 58.41",
            "8.11 30.90 70.72 38.19 65.37",
            _more("27.50 82.92 67.41", "56.66 32.58"),
        ),
    ),
    "sft-ic-playback-7b": _sft(
        "Table 6, row 1: MMGIC as instruction data for a model that was trained on IC alone (C.5)",
        "mmgic-ic-7b/training/ic-7b",
        SFT,
        _after_sft(
            "119.03 105.49", "70.33 56.67 52.63 82.31 1656.29 59.64 66.04 59.60", "7.65 31.26 71.66 34.51 66.61"
        ),
    ),
    "sft-c-7b": _sft(
        "Figures 5 and 9, coarse-grained annotations (CG)", "mmgic-7b/training/mmgic-c-7b", SFT, recipe="C"
    ),
    "sft-ldr-7b": _sft(
        "Figures 5 and 9, fine-grained annotations (FG)", "mmgic-7b/training/mmgic-ldr-7b", SFT, recipe="LDR"
    ),
}
