"""Table 16: the words around an instruction and its response, for each task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from mmgic.documents.template import ImageSlot, Segment, one_line
from mmgic.schema import Part

# Our wordings beside the two that the table quotes; one is drawn for each record.
DETAILED_CAPTION_INSTRUCTIONS = (
    "Explain the visual content of the image in great detail.",
    "Analyze the image in a comprehensive and detailed manner.",
    "Describe everything that can be seen in this image, from the main subjects to the background.",
    "Give a thorough account of what the image shows and how it is arranged.",
    "Write a long and precise description of the given picture.",
    "What is in this image? Leave out no detail that matters.",
    "Portray the scene of the image in rich detail, including colors, positions and actions.",
    "Tell me as fully as you can what this picture contains.",
)


@dataclass(frozen=True)
class TaskTemplate:
    """How one task's instructions and responses are worded."""

    before: str = ""  # stands before the instruction's text
    after: str = ""  # stands on a line of its own after it
    joint: str = "\n"  # between an image and what is next to it in an instruction
    response: str = ""  # stands before the response's parts
    short: bool = False  # question and answer are one line each; the answer begins as a sentence does
    independent: bool = False  # its rounds can be understood without the ones before them


TEMPLATES: Mapping[str, TaskTemplate] = {
    "image_conversation": TaskTemplate(),
    "open_vqa": TaskTemplate(after="Answer the question using a single word or phrase.", short=True, independent=True),
    "multiple_choice": TaskTemplate(
        after="Answer with the option's letter from the given choices directly.", independent=True
    ),
    "detailed_caption": TaskTemplate(independent=True),  # its `after` is drawn from DETAILED_CAPTION_INSTRUCTIONS
    "image_caption": TaskTemplate(after="Provide a one-sentence caption for the provided image.", independent=True),
    "image_editing": TaskTemplate(joint=" ", response="Here is the edited image: "),
    "text_to_image": TaskTemplate(
        before="Create an image that visually represents the description: ",
        response="Here is the image: ",
        independent=True,
    ),
    "text_only": TaskTemplate(),
}


@dataclass(frozen=True)
class Round:
    """What stands between one <s> and its </s>. The instruction's last segment is the text that ends in "[/INST]"."""

    instruction: list[Segment]
    response: list[Segment]


def make_round(
    template: TaskTemplate,
    instruction: Sequence[Part],
    response: Sequence[Part],
    system_prompt: str | None,
) -> Round:
    """One round in the words of `template`; `system_prompt` is None after the first round."""
    asked = _segments(instruction, one_line if template.short else str.strip)
    if template.before:
        asked = [template.before + segment if isinstance(segment, str) else segment for segment in asked]
    if template.after:
        asked.append(template.after)
    answered = _segments(response, sentence_start if template.short else str.strip)
    if template.response:
        answered = [template.response, *answered]
    return Round(framed(_joined(asked, template.joint), system_prompt), responded(_joined(answered, "\n")))


def framed(instruction: Iterable[Segment], system_prompt: str | None) -> list[Segment]:
    """`instruction` from [INST] to [/INST]; `system_prompt` is None after the first round, "" if there is none."""
    system = f"<<SYS>>\n{system_prompt}\n<</SYS>>\n\n" if system_prompt else ""
    return merged([f"[INST] {system}", *instruction, " [/INST]"])


def responded(response: Iterable[Segment]) -> list[Segment]:
    """`response` as it follows [/INST]: a space before its first word, none before an image."""
    segments = merged(response)
    return [f" {segments[0]}", *segments[1:]] if segments and isinstance(segments[0], str) else segments


def sentence_start(answer: str) -> str:
    """An answer as a sentence's beginning: VQAv2 writes "yes", POPE's options are "Yes" and "No"."""
    line = one_line(answer)
    return f"{line[:1].upper()}{line[1:]}"


def merged(segments: Iterable[Segment]) -> list[Segment]:
    """`segments` with neighbouring texts as one text, which is tokenized as one."""
    result: list[Segment] = []
    for segment in segments:
        if isinstance(segment, str) and result and isinstance(result[-1], str):
            result[-1] += segment
        elif segment != "":
            result.append(segment)
    return result


def _segments(parts: Sequence[Part], clean: Any) -> list[Segment]:
    return [clean(part["text"]) if part["image"] < 0 else ImageSlot(part["image"]) for part in parts]


def _joined(segments: list[Segment], joint: str) -> list[Segment]:
    """`segments` with `joint` between any two, except after a text that ends with its own space."""
    result = segments[:1]
    for left, right in pairwise(segments):
        result += [right] if isinstance(left, str) and left.endswith(" ") else [joint, right]
    return result
