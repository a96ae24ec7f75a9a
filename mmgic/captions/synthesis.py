"""F.4 on rows: candidates in rounds, ranked by CLIP, until one fits the rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch

from mmgic.captions.images import Pixels
from mmgic.captions.models import Captioner, Ranker
from mmgic.devices import device_of
from mmgic.schema import record_generator, reject
from mmgic.settings import CaptionSettings
from mmgic.stages.rows import Row


@dataclass(frozen=True)
class RankedCaption:
    """A `mmgic.schema.Candidate`."""

    caption: str
    score: float
    round: int


class SynthesizeCaptions:
    """Callable over the rows of a stage whose `prepare` is `ReadImage`; holds both models for a whole worker."""

    def __init__(self, settings: CaptionSettings, column: str, seed: int, gpus: float = 0) -> None:
        device = torch.device(device_of(gpus))
        self.settings = settings
        self.column = column
        self.seed = seed
        self.captioner = Captioner(settings, device)
        self.ranker = Ranker(settings, device)

    def __call__(self, rows: Sequence[Row]) -> list[Row]:
        """Rows -> as many, with a caption and its candidates; a row whose image cannot be used is set aside."""
        open_rows = [row for row in rows if isinstance(row["prepared"], Pixels)]
        found = dict(zip([row["row_id"] for row in open_rows], self.synthesize(open_rows), strict=True))
        return [self._finished(row, found.get(row["row_id"])) for row in rows]

    def _finished(self, row: Row, candidates: list[RankedCaption] | None) -> Row:
        row, prepared = {k: v for k, v in row.items() if k != "prepared"}, row["prepared"]
        if candidates is None:
            return {**row, **(prepared or {})}
        if not candidates[0].caption:
            return {**row, **reject("no_caption", f"BLIP-2 said nothing in {self.settings.rounds} rounds")}
        return {**row, self.column: candidates[0].caption, "candidates": [asdict(c) for c in candidates]}

    def synthesize(self, rows: Sequence[Row]) -> list[list[RankedCaption]]:
        """For each row the chosen candidate, then the others of its last round, best first."""
        if not rows:
            return []
        features = self.captioner.encode(np.stack([row["prepared"].blip2 for row in rows]))
        views = self.ranker.encode(np.stack([row["prepared"].clip for row in rows]))
        candidates: list[list[RankedCaption]] = [[] for _ in rows]
        without = list(range(len(rows)))
        for number in range(self.settings.rounds):
            for start in range(0, len(without), self.settings.images_per_batch):
                some = without[start : start + self.settings.images_per_batch]
                uniforms = np.stack([self.uniforms(rows[i], number) for i in some])
                captions = self.captioner.propose(features[some], uniforms)
                scores = self.ranker.score(views[some], captions)
                for i, said, cosines in zip(some, captions, scores, strict=True):
                    new = [RankedCaption(caption, score, number) for caption, score in zip(said, cosines, strict=True)]
                    candidates[i] = choose(candidates[i][:1], new, self.settings)
            without = [i for i in without if not fits(candidates[i][0], self.settings)]
            if not without:
                break
        return candidates

    def uniforms(self, row: Row, number: int) -> np.ndarray:
        """The random numbers of one record's round, float32 [candidates, max_new_tokens]."""
        generator = record_generator(self.seed, "captions", row["source"], row["image_id"], number)
        return generator.random((self.settings.candidates, self.settings.max_new_tokens), dtype=np.float32)


def choose(before: list[RankedCaption], new: list[RankedCaption], settings: CaptionSettings) -> list[RankedCaption]:
    """The candidates of a round, best first, after the one that is taken.

    That is the first of them that fits (F.4 step 4) or, should no later round find one that does, the one of the
    highest score so far: of `new` and of what was first `before`.
    """
    ranked = sorted(new, key=_rank)
    taken = next((candidate for candidate in ranked if fits(candidate, settings)), None)
    taken = taken or min([*before, *ranked], key=_rank)
    return [taken, *(candidate for candidate in ranked if candidate is not taken)]


def fits(candidate: RankedCaption, settings: CaptionSettings) -> bool:
    """F.4 step 3: neither too short nor too long, and close enough to the image."""
    words = len(candidate.caption.split())
    return settings.min_words <= words <= settings.max_words and candidate.score >= settings.min_score


def _rank(candidate: RankedCaption) -> tuple[bool, float, str]:
    """Sorts the highest score first; a caption without words says nothing, whatever its score."""
    return not candidate.caption, -candidate.score, candidate.caption
