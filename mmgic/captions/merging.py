"""One detailed caption out of two (G.3, after CapsFusion): what the web says of an image, in the good order of a
synthesized caption."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from mmgic.descriptions.parse import is_refusal
from mmgic.errors import InputError
from mmgic.language_model.answers import Answer, Usage
from mmgic.language_model.client import LanguageModel, Prompt
from mmgic.schema import CaptionedImage, add_drops
from mmgic.stages.lifecycle import is_too_often

MAX_ORIGIN_CHARACTERS = 1000  # of a web caption: some are whole pages
MAX_WORDS = 120  # of a merged caption

_SYSTEM = """# How to merge two captions of one image

You are given two captions of the same image.

1. The web caption was found beside the image. It names people, places, products, events and other facts, but it may \
be ungrammatical, cut short, or filled with advertising, file names and tags.
2. The short caption was written by an image captioning model. It is well formed and says what can be seen, but it \
knows none of these facts, and may be wrong in details.

Write one new caption that keeps every fact of the web caption that belongs to the image and has the fluent, well \
structured form of the short caption. Where the two disagree about a fact, follow the web caption. Work both into \
natural sentences, do not string the two together, add nothing that neither of them says, and leave out advertising, \
links and tags. Write a single paragraph and nothing else."""

_LABEL = re.compile(r"^(?:merged |new |final )?caption\s*:\s*", re.IGNORECASE)


class MergeCaptions:
    """A transform of CAPTIONED_IMAGE rows: fills `caption_capsfusion` if it is missing and both others are there.

    Rows of the sources `anew` get another one if they have one, which was made of a short caption that is gone. Where
    the model gives nothing usable the short caption takes its place, counted in `drops` as `caption_not_merged`.
    A request that fails is made once more at the end of the batch; if it fails again, the short caption is counted as
    `caption_request_failed`. Rows that have a detailed caption, or lack one of the two others, pass untouched.

    Raises InputError if more than `max_error_rate` of a batch's requests (and at least lifecycle.FEW) failed, for
    then the server is at fault: the batch is not written, and its answers are kept for the next run. `report` is called
    after each batch that asked something.
    """

    def __init__(
        self,
        model: LanguageModel,
        max_error_rate: float,
        anew: Collection[str] = (),
        report: Callable[[Usage], None] = lambda usage: None,
    ) -> None:
        self.model = model
        self.max_error_rate = max_error_rate
        self.anew = anew
        self.report = report

    def __call__(self, rows: list[CaptionedImage]) -> list[CaptionedImage]:
        lacking = [i for i, row in enumerate(rows) if needs_merging(row, self.anew)]
        if not lacking:
            return rows
        prompts = [merge_prompt(rows[i]["caption_origin"], rows[i]["caption_coco"]) for i in lacking]
        answers = self.model.ask(prompts)
        if any(answer.failed for answer in answers):
            answers = self.model.ask(prompts)  # those that did not fail are in the cache by now
        self.model.share_usage(self.report)
        failures = [answer.problem for answer in answers if answer.failed]
        if is_too_often(len(failures), len(answers), self.max_error_rate):
            raise InputError(
                f"{len(failures):,} of the {len(answers):,} captions asked for last failed twice (such as: "
                f"{failures[-1]}), more than cluster.max_error_rate = {self.max_error_rate:g}; see to the language "
                "model's server and run again: the answers so far are kept"
            )
        merged = list(rows)
        for i, answer in zip(lacking, answers, strict=True):
            caption = read_caption(answer)
            drops = [] if caption else ["caption_request_failed" if answer.failed else "caption_not_merged"]
            merged[i] = {
                **rows[i],
                "caption_capsfusion": caption or rows[i]["caption_coco"],
                "drops": add_drops(rows[i]["drops"], drops),
            }
        return merged


def needs_merging(row: CaptionedImage, anew: Collection[str] = ()) -> bool:
    lacks = not row["caption_capsfusion"].strip() or row["source"] in anew
    return lacks and bool(row["caption_origin"].strip() and row["caption_coco"].strip())


def merge_prompt(origin: str, coco: str) -> Prompt:
    """`origin` and `coco` each on one line, a long `origin` cut at a word."""
    origin, coco = " ".join(origin.split()), " ".join(coco.split())
    if len(origin) > MAX_ORIGIN_CHARACTERS:
        origin = f"{origin[:MAX_ORIGIN_CHARACTERS].rsplit(' ', 1)[0]} ..."
    return Prompt(_SYSTEM, f"Web caption: {origin}\nShort caption: {coco}\n\nMerged caption:")


def read_caption(answer: Answer) -> str:
    """The merged caption, or "" where the answer is empty, cut off, refused, too long, or more than one paragraph."""
    text = _LABEL.sub("", answer.text.strip().strip('"“”').strip())
    paragraphs = [part for part in re.split(r"\n\s*\n", text) if part.strip()]
    usable = not answer.problem and len(paragraphs) == 1 and len(text.split()) <= MAX_WORDS and not is_refusal(text)
    return " ".join(text.split()) if usable else ""
