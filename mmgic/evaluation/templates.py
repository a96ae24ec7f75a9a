"""How questions with options are put to a model: published forms and ours, and what each of them scores.

A paper that reports the best of several has chosen it on the test set (Appendix E.2); all are shown here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean, stdev

from mmgic.errors import InputError
from mmgic.evaluation.benchmark import Item

TABLE_16 = "table 16"
DIRECTLY = "Answer with the option's letter from the given choices directly."


@dataclass(frozen=True)
class Template:
    """The words around a question. `layout` has {hint}, {question} and {options}; a hint brings its own line."""

    layout: str
    option: str = "{letter}. {text}"
    joint: str = "\n"  # between options
    hint: str = "{hint}\n"

    def text(self, item: Item) -> str:
        options = self.joint.join(
            self.option.format(letter=letter, text=text)
            for letter, text in zip(item.options, item.choices, strict=True)
        )
        hint = self.hint.format(hint=item.hint) if item.hint else ""
        return self.layout.format(hint=hint, question=item.question, options=options)


# The first is the one that fine-tuning has seen; its last sentence is the task's own.
TEMPLATES: Mapping[str, Template] = {
    TABLE_16: Template("{hint}{question}\n{options}"),
    "llava scienceqa": Template(f"{{hint}}{{question}}\n{{options}}\n{DIRECTLY}", hint="Context: {hint}\n"),
    "vlmevalkit": Template(
        "{hint}Question: {question}\nOptions:\n{options}\nPlease select the correct answer from the options above.",
        hint="Hint: {hint}\n",
    ),
    "lmms-eval": Template(f"{{hint}}{{question}} There are several options:\n{{options}}\n{DIRECTLY}"),
    "seed": Template("{hint}{question}\n{options}\nAnswer:"),
    "brackets": Template(
        "{hint}{question}\n{options}\nWhich one is right? Give its letter.", option="({letter}) {text}"
    ),
    "one line": Template("{hint}{question} Choose from: {options}. The letter is:", "{letter}) {text}", "; "),
    "options first": Template("{hint}Here are some answers:\n{options}\nWhich of them fits the question: {question}"),
    "examination": Template("{hint}Examination question: {question}\n{options}\nWrite down the letter of the answer."),
    "look first": Template("{hint}Look at the image. {question}\n{options}\nReply with one letter only."),
}


def posed(name: str) -> Callable[[Item], Item]:
    """What puts an item in the words of the template called `name`. Items without options stay as they are.

    Raises InputError for a name that no template has.
    """
    if name not in TEMPLATES:
        raise InputError(f"there is no template {name!r}; templates are {', '.join(TEMPLATES)}")

    def pose(item: Item) -> Item:
        if not item.choices:
            return item
        task = item.task if name == TABLE_16 else "image_conversation"
        return replace(item, question=TEMPLATES[name].text(item), task=task)

    return pose


def template_names(setting: str) -> list[str]:
    """The templates that `evaluation.template` asks for, the one whose answers are kept first.

    Raises InputError for a name that no template has.
    """
    if setting == "all":
        return list(TEMPLATES)
    posed(setting)
    return [setting]


@dataclass(frozen=True)
class Sweep:
    """The scores of several templates, in the unit of their benchmark's number."""

    scores: Mapping[str, float]

    @property
    def best(self) -> str:
        """The template with the highest score, the first one of equals: it is chosen on the test set."""
        return max(self.scores, key=self.scores.__getitem__)

    @property
    def mean(self) -> float:
        return mean(self.scores.values())

    @property
    def lowest(self) -> float:
        return min(self.scores.values())

    @property
    def standard_error(self) -> float:
        """Of the mean over templates; 0 for a single one."""
        values: Sequence[float] = list(self.scores.values())
        return float(stdev(values) / len(values) ** 0.5) if len(values) > 1 else 0.0

    def lines(self) -> list[str]:
        """What is printed: the summary, and each template's score."""
        best = f"best {self.scores[self.best]:.2f} ('{self.best}', chosen on the test set)"
        summary = f"templates: {best}, mean {self.mean:.2f} ± {self.standard_error:.2f}, lowest {self.lowest:.2f}"
        return [summary, *(f"template '{name}': {score:.2f}" for name, score in self.scores.items())]
