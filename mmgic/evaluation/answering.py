"""A model's answers to items: the most probable option of those that have options, a text for the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from mmgic.documents.prompts import caption_prompt, line_stop_ids, option_ids, round_prompt
from mmgic.errors import InputError
from mmgic.evaluation.benchmark import Item, ItemAnswer, image_name
from mmgic.evaluation.engines import Advance, untold
from mmgic.evaluation.exported_model import ExportedModel
from mmgic.settings import Settings


def answer_items(
    model: ExportedModel,
    items: Sequence[Item],
    codes: Mapping[str, Sequence[int]],
    settings: Settings,
    advance: Advance = untold,
) -> list[ItemAnswer]:
    """An answer to each item, in their order; `codes` are the visual codes of the items' images by their names.

    Raises InputError for prompts that are too long and for probabilities that are no numbers.
    """
    prompts = [_prompt(model, item, codes, settings.documents.system_prompt) for item in items]
    chosen = [i for i, item in enumerate(items) if item.options]
    written = [i for i, item in enumerate(items) if not item.options]
    options = _choose(model, [items[i] for i in chosen], [prompts[i] for i in chosen], advance)
    answers = dict(zip(chosen, options, strict=True))
    stop = line_stop_ids(model.tokenizer)
    texts = write_texts(model, [prompts[i] for i in written], settings.evaluation.max_new_tokens, stop, advance)
    answers |= {i: ItemAnswer(text) for i, text in zip(written, texts, strict=True)}
    return [answers[i] for i in range(len(items))]


def _prompt(model: ExportedModel, item: Item, codes: Mapping[str, Sequence[int]], system_prompt: str) -> list[int]:
    images = [codes[image_name(image)] for image in item.images]
    if item.task == "image_caption":
        [image] = images
        return caption_prompt(model.tokenizer, model.vocabulary, image, model.form, system_prompt)
    return round_prompt(model.tokenizer, model.vocabulary, item.task, images, item.question, system_prompt)


def _choose(
    model: ExportedModel, items: Sequence[Item], prompts: Sequence[Sequence[int]], advance: Advance
) -> list[ItemAnswer]:
    """The most probable of each item's own options, the first one of equals (Appendix E.2)."""
    known = {options: option_ids(model.tokenizer, options) for options in {item.options for item in items}}
    logprobs = model.engine.option_logprobs(prompts, [known[item.options] for item in items], advance)
    answers = []
    for item, found in zip(items, logprobs, strict=True):
        if not all(map(math.isfinite, found)):
            raise InputError("the model's answer probabilities are not finite; its training has diverged")
        answers.append(ItemAnswer(item.options[found.index(max(found))], dict(zip(item.options, found, strict=True))))
    return answers


def write_texts(
    model: ExportedModel,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    stop: Sequence[int],
    advance: Advance = untold,
) -> list[str]:
    """The text after each prompt, up to the first token of `stop`."""
    outputs = model.engine.generate(prompts, max_new_tokens, stop, advance)
    # a model may go on with visual tokens, which have no text
    texts = [[token for token in output if not model.vocabulary.is_visual(token)] for output in outputs]
    return [model.tokenizer.decode(text, skip_special_tokens=True).strip() for text in texts]
