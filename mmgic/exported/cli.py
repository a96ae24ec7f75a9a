"""`mmgic caption` and `mmgic ask`: what an exported model says of an image."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args

from mmgic.arguments import whole
from mmgic.devices import Device, device_of
from mmgic.documents.tasks import TEMPLATES

if TYPE_CHECKING:
    from mmgic.evaluation.exported_model import ExportedModel

ASKED = [task for task in TEMPLATES if task not in ("image_editing", "text_to_image", "text_only")]


def add_parser(commands: Any) -> None:
    caption = commands.add_parser("caption", help="let an exported model say what images show")
    caption.add_argument("images", nargs="+", metavar="IMAGE", help="image files")
    _model_flags(caption)
    caption.set_defaults(run=_caption)

    ask = commands.add_parser("ask", help="let an exported model answer a question about an image")
    ask.add_argument("image", metavar="IMAGE", help="an image file")
    ask.add_argument("question", metavar="QUESTION", help="what to ask about it")
    ask.add_argument(
        "--task",
        choices=ASKED,
        default="open_vqa",
        help="whose words of Table 16 are put around the question; open_vqa asks for a word or phrase",
    )
    ask.add_argument("--system-prompt", metavar="TEXT", help="in place of the one that the model was trained with")
    _model_flags(ask)
    ask.set_defaults(run=_ask)


def _model_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, metavar="FOLDER", help="folder of an exported model")
    parser.add_argument("--max-new-tokens", type=whole(1), default=64, metavar="N", help="most tokens said")
    parser.add_argument("--device", choices=get_args(Device), default="cpu", help="where the models compute")


def _caption(arguments: argparse.Namespace) -> None:
    from mmgic.documents.prompts import caption_prompt, line_stop_ids
    from mmgic.exported.chat_template import system_prompt_of

    def prompt(model: ExportedModel, codes: list[int]) -> list[int]:
        system = system_prompt_of(model.tokenizer.chat_template or "")
        return caption_prompt(model.tokenizer, model.vocabulary, codes, model.form, system)

    said = _say(
        arguments,
        arguments.images,
        prompt,
        lambda model: line_stop_ids(model.tokenizer),
    )
    for path, text in zip(arguments.images, said, strict=True):
        print(text if len(said) == 1 else f"{path}: {text}")


def _ask(arguments: argparse.Namespace) -> None:
    from mmgic.documents.prompts import line_stop_ids

    def prompt(model: ExportedModel, codes: list[int]) -> list[int]:
        asked = [{"type": "image", "codes": codes}, {"type": "text", "text": arguments.question}]
        system = arguments.system_prompt
        messages: list[dict[str, Any]] = [] if system is None else [{"role": "system", "content": system}]
        messages.append({"role": "user", "content": asked})
        ids: list[int] = model.tokenizer.apply_chat_template(messages, task=arguments.task, return_dict=False)
        return ids

    def stop(model: ExportedModel) -> list[int]:
        one_line = TEMPLATES[arguments.task].short
        return line_stop_ids(model.tokenizer) if one_line else [int(model.tokenizer.eos_token_id)]

    print(*_say(arguments, [arguments.image], prompt, stop))


def _say(
    arguments: argparse.Namespace,
    images: list[str],
    prompt: Callable[[ExportedModel, list[int]], list[int]],
    stop: Callable[[ExportedModel], list[int]],
) -> list[str]:
    """What the model says after the prompt of each image's codes."""
    from mmgic.evaluation.answering import write_texts
    from mmgic.evaluation.engines import TransformersEngine, check_model
    from mmgic.evaluation.exported_model import ExportedModel, load_vocabulary
    from mmgic.exported.processor import MMGICProcessor
    from mmgic.vision.cli import open_image

    check_model(arguments.model)
    device = device_of(gpus=arguments.device == "cuda")
    pictures = [open_image(path) for path in images]
    processor = MMGICProcessor.from_pretrained(arguments.model)
    codes = processor.image_processor(pictures, device=device)["codes"]
    engine = TransformersEngine(arguments.model, device=device)
    model = ExportedModel(engine, processor.tokenizer, load_vocabulary(arguments.model), processor.form)
    return write_texts(model, [prompt(model, found) for found in codes], arguments.max_new_tokens, stop(model))
