"""Trains one of the toy world's frozen models. The packaged ones, mmgic/toy/weights/NAME, were made so.

    mmgic train-toy-model NAME --output mmgic/toy/weights/NAME
    mmgic train-toy-model clip --output FIRST && mmgic train-toy-model clip --output SECOND \\
        --set start=FIRST --set steps=800 --set learning_rate=8e-4 --set seed=1

    NAME          minutes of one core   what it is, and the packaged one's score on scenes that it has not seen
    clip          25, then 5            image encoder; of all categories and colours, the right pair for 70 % of things
    clip_ranker   2                     CLIP that ranks captions; right above one wrong word for 78 %
    blip2         5                     BLIP-2 that proposes captions; CIDEr 2.82 of greedy ones
    llama         10                    Llama on text alone; 99.9 % of yes/no and 54 % of colour questions
    tokenizer     10                    visual tokenizer on clip; cosine 0.83, F1 0.54 of categories read from codes
    pixels        40                    pixel decoder for the tokenizer; 11.8 dB, 9.1 dB from another picture's codes

Memory stays under 2 GB. clip_ranker, blip2 and tokenizer are made from the packaged clip, pixels from the packaged
tokenizer. --set changes what --print-config shows. Leaves metrics.json as well: the command, the run and the scores.
"""

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from mmgic.cli import add_override_flags


def add_flags(parser: argparse.ArgumentParser) -> None:
    from mmgic.toy.models.making import MODELS, run_of

    parser.add_argument("name", choices=tuple(MODELS), metavar="NAME", help="one of the models above")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder of the trained model")
    add_override_flags(parser)
    parser.set_defaults(base=lambda flags: run_of(flags.name))


def main(run: Any, flags: argparse.Namespace) -> None:
    from mmgic.toy.models.making import make_model

    command = shlex.join(["mmgic", "train-toy-model", *sys.argv[sys.argv.index(flags.name) :]])
    print(json.dumps(make_model(flags.name, run, flags.output, command), indent=2))
