"""`mmgic vision`: images to codes, codes to images, both at once, and LaVIT's checkpoints.

Outside mmgic.vision, whose import takes a second, so that the commands beside it start without it.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

from mmgic.arguments import SEED, real, whole
from mmgic.devices import Device, device_of
from mmgic.errors import InputError
from mmgic.presets import TOY_WEIGHTS, TOY_WEIGHTS_SAY, is_toy


def add_parser(subparsers: Any) -> None:
    """Adds the `vision` command and its own."""
    commands = subparsers.add_parser("vision", help="visual tokens of images, and pictures of tokens").add_subparsers(
        required=True, metavar="COMMAND"
    )
    tokenize = commands.add_parser(
        "tokenize",
        help="print the visual codes of images",
        description="Prints the visual codes of images. One that cannot be used ends the command with exit code 2; "
        "the images before it have been printed by then.",
    )
    tokenize.add_argument("images", nargs="+", metavar="IMAGE", help="image files")
    tokenize.add_argument("--json", action="store_true", help="a JSON object {image, codes, kept} per line")
    _tokenizer_flags(tokenize)
    tokenize.set_defaults(run=run_tokenize)

    detokenize = commands.add_parser("detokenize", help="draw the pictures that codes stand for")
    detokenize.add_argument("codes", metavar="FILE", help="what `tokenize --json` printed; -: stdin")
    detokenize.add_argument("--output", type=Path, required=True, metavar="PNG", help="several get -0, -1, … added")
    detokenize.add_argument(
        "--text-size",
        type=whole(1),
        metavar="N",
        help="the numbers are token ids of a model with N text tokens (LLaMA-2: 32000), not codes",
    )
    _pixel_flags(detokenize)
    detokenize.set_defaults(run=run_detokenize)

    reconstruct = commands.add_parser("reconstruct", help="an image, the patches that were kept, and what they draw")
    reconstruct.add_argument("image", metavar="IMAGE", help="an image file")
    reconstruct.add_argument("--output", type=Path, required=True, metavar="PNG", help="the panel's file")
    _tokenizer_flags(reconstruct)
    _pixel_flags(reconstruct)
    reconstruct.set_defaults(run=run_reconstruct)

    draw = commands.add_parser("draw", help="let an exported model write an image's codes for a caption, and draw them")
    draw.add_argument("model", metavar="MODEL", help="folder of an exported model")
    draw.add_argument("caption", metavar="CAPTION", help="what to draw")
    draw.add_argument("--output", type=Path, required=True, metavar="PNG", help="the picture's file")
    draw.add_argument("--text-guidance", type=real(0), default=4.0, metavar="G", help="of the model's codes; 1: none")
    _pixel_flags(draw, default=None, where="the model's own, or the toy world's")
    draw.set_defaults(run=run_draw)

    importing = commands.add_parser("import", help="convert LaVIT's released checkpoint, once all of it is checked")
    importing.add_argument("folder", metavar="DIR", help="the release as downloaded")
    importing.add_argument("output", metavar="OUT", help="a new folder")
    importing.add_argument("--part", action="append", metavar="NAME", help="only this part; repeatable")
    importing.add_argument("--sizes", metavar="JSON", help="sizes other than LaVIT-7B-v2's, as in LavitSizes")
    importing.set_defaults(run=run_import)


def _tokenizer_flags(parser: argparse.ArgumentParser) -> None:
    own = TOY_WEIGHTS / "tokenizer"
    parser.add_argument("--tokenizer", default=own, metavar="DIR", help="default: the toy world's")
    parser.add_argument(
        "--selection", choices=["gumbel", "argmax"], default="gumbel", help="of patches: with LaVIT's noise, or without"
    )
    _device_flags(parser)
    parser.add_argument("--seed", type=SEED, default=0, help="of the patch selection and of a picture's first noise")


def _pixel_flags(
    parser: argparse.ArgumentParser, default: Path | None = TOY_WEIGHTS / "pixels", where: str = "the toy world's"
) -> None:
    parser.add_argument("--pixels", default=default, metavar="DIR", help=f"default: {where}")
    parser.add_argument("--size", type=_size, metavar="HxW", help="of the picture; default: the decoder's usual one")
    parser.add_argument("--steps", type=whole(1), metavar="N", help="of denoising; default: the decoder's own number")
    parser.add_argument("--guidance", type=real(0), metavar="G", help="of the drawing by the codes; 1: none")
    if parser.get_default("seed") is None:
        parser.add_argument("--seed", type=SEED, default=0, help="of a picture's first noise")
        _device_flags(parser)


def _device_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=get_args(Device), default="cpu", help="where the models compute")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="default: bfloat16 with cuda, else float32")


def _size(text: str) -> tuple[int, int]:
    try:
        height, width = map(int, text.split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no size; write HxW, such as 512x512") from None
    return height, width


def load_models(arguments: argparse.Namespace, *parts: str) -> list[Any]:
    """The `parts`, "tokenizer" or "pixels", that the flags name, on the device and in the type that they name."""
    from mmgic.vision.folders import load_tokenizer
    from mmgic.vision.pixels.pixel_decoder import load_pixel_decoder

    device = device_of(gpus=arguments.device == "cuda")
    dtype = arguments.dtype or ("bfloat16" if device == "cuda" else "float32")
    return [
        load_tokenizer(arguments.tokenizer, dtype).to(device)
        if part == "tokenizer"
        else load_pixel_decoder(arguments.pixels, device, dtype)
        for part in parts
    ]


def warn_of_toy(*folders: Path | str) -> None:
    """Says on standard error if a model that is to see a user's picture has seen the toy world alone."""
    if any(map(is_toy, folders)):
        print(f"warning: these are {TOY_WEIGHTS_SAY}; --tokenizer and --pixels take others", file=sys.stderr)


def run_tokenize(arguments: argparse.Namespace) -> None:
    from mmgic.stages.progress import counted
    from mmgic.vision.reconstruct import tokenize_image

    [tokenizer] = load_models(arguments, "tokenizer")
    warn_of_toy(arguments.tokenizer)
    total = len(arguments.images)
    # on a terminal the lines that are printed show how far it is
    shown = sys.stdout.isatty()
    with nullcontext(lambda images: None) if shown else counted("tokenize", total, "images") as advance:
        for path in arguments.images:
            tokens = tokenize_image(
                open_image(path), tokenizer, selection=arguments.selection, seed=arguments.seed, name=Path(path).name
            )
            if arguments.json:
                kept = tokens.kept.flatten().nonzero()[0].tolist()
                print(json.dumps({"image": path, "codes": tokens.codes, "kept": kept}))
            else:
                print(f"{path}: {len(tokens.codes)} of {tokens.kept.size} patches: {' '.join(map(str, tokens.codes))}")
            advance(1)


def run_detokenize(arguments: argparse.Namespace) -> None:
    from mmgic.generation.drawing import codes_from_ids
    from mmgic.model.vocabulary import VLVocabulary

    [pixels] = load_models(arguments, "pixels")
    codes = list(read_codes(arguments.codes))
    if arguments.text_size is not None:
        vocabulary = VLVocabulary(arguments.text_size, len(pixels.codebook))
        codes = [codes_from_ids(image, vocabulary) for image in codes]
    pictures = pixels.detokenize(
        codes, size=arguments.size, steps=arguments.steps, guidance=arguments.guidance, seed=arguments.seed
    )
    output: Path = arguments.output
    output.parent.mkdir(parents=True, exist_ok=True)
    for position, picture in enumerate(pictures):
        path = output if len(pictures) == 1 else output.with_stem(f"{output.stem}-{position}")
        picture.save(path, "PNG")
        print(path)


def run_reconstruct(arguments: argparse.Namespace) -> None:
    from mmgic.vision.reconstruct import panel, reconstruct

    image = open_image(arguments.image)
    warn_of_toy(arguments.tokenizer, arguments.pixels)
    result = reconstruct(
        image,
        *load_models(arguments, "tokenizer", "pixels"),
        selection=arguments.selection,
        size=arguments.size,
        steps=arguments.steps,
        guidance=arguments.guidance,
        seed=arguments.seed,
        name=Path(arguments.image).name,
    )
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    panel(result).save(arguments.output, "PNG")
    print(f"{arguments.output}: original, {len(result.tokens.codes)} kept patches, reconstruction")


def run_draw(arguments: argparse.Namespace) -> None:
    from mmgic.documents.prompts import drawing_prompt
    from mmgic.evaluation.engines import check_model
    from mmgic.evaluation.exported_model import load_vocabulary
    from mmgic.exported.chat_template import system_prompt_of
    from mmgic.exported.processor import read_form
    from mmgic.generation.drawing import default_sampling, draw_image, start_ids
    from mmgic.model.pretrained import load_llama
    from mmgic.model.text_tokenizer import load_text_tokenizer

    check_model(arguments.model)
    own = Path(arguments.model) / "pixels"
    arguments.pixels = arguments.pixels or (own if own.is_dir() else TOY_WEIGHTS / "pixels")
    vocabulary, [pixels] = load_vocabulary(arguments.model), load_models(arguments, "pixels")
    tokenizer = load_text_tokenizer(arguments.model)
    model = load_llama(arguments.model, pixels.dtype)
    start = start_ids(model.config, vocabulary, tokenizer.bos_token_id)
    system = system_prompt_of(tokenizer.chat_template or "")
    prompt = [*start, *drawing_prompt(tokenizer, arguments.caption, read_form(arguments.model), system)]
    picture = draw_image(
        model.to(pixels.device),
        vocabulary,
        pixels,
        prompt,
        replace(default_sampling(pixels), guidance=arguments.text_guidance),
        seed=arguments.seed,
        size=arguments.size,
        steps=arguments.steps,
        guidance=arguments.guidance,
    )
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    picture.save(arguments.output, "PNG")
    print(arguments.output)


def run_import(arguments: argparse.Namespace) -> None:
    from mmgic.vision.lavit.importing import PARTS, import_lavit

    parts = arguments.part or list(PARTS)
    if unknown := [part for part in parts if part not in PARTS]:
        raise InputError(f"--part {unknown[0]} is unknown; it takes {', '.join(PARTS)}")
    notes = import_lavit(arguments.folder, arguments.output, parts=parts, sizes=read_sizes(arguments.sizes))
    for note in notes:
        print(note)
    print(f"imported {', '.join(parts)}: {arguments.output}")


def read_sizes(path: str | None) -> Any:
    """LavitSizes with the values of a JSON file {"vision": {…}, "lowres": {…}, …}; missing ones are the release's."""
    from mmgic.vision.lavit.importing import LavitSizes

    sizes = LavitSizes()
    if path is None:
        return sizes
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
        for group in ("vision", "lowres", "highres"):
            if group in values:
                values[group] = replace(getattr(sizes, group), **values[group])
        for group in ("lowres_pictures", "highres_pictures"):
            if group in values:
                values[group] = tuple((int(height), int(width)) for height, width in values[group])
        return replace(sizes, **values)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (TypeError, ValueError, AttributeError):
        names = ", ".join(asdict(sizes))
        raise InputError(f"{path} holds no sizes; write a JSON object with some of {names}") from None


def open_image(path: str) -> Any:
    """The image as RGB. Raises InputError if it cannot be used."""
    from PIL import Image

    from mmgic.images import ImageError, read_image

    try:
        with warnings.catch_warnings():
            # read_image's own limit answers in a sentence
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return read_image(path)
    except ImageError as error:
        detail = "no such file" if error.detail == path else error.detail
        raise InputError(f"the image {path} cannot be used: {detail}") from None


def read_codes(path: str) -> Iterator[list[int]]:
    """Lists of codes from JSON lines: objects with `codes`, or bare lists."""
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
        values = [json.loads(line) for line in text.splitlines() if line.strip()]
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise InputError(f"{path} is no JSON; give what `mmgic vision tokenize --json` prints") from None
    if not values:
        raise InputError(f"{path} holds no codes")
    for value in values:
        codes = value.get("codes") if isinstance(value, dict) else value
        if not isinstance(codes, list) or not all(type(code) is int for code in codes):
            raise InputError(f"{path}: every line is a list of whole numbers or an object with such a list as codes")
        yield codes
