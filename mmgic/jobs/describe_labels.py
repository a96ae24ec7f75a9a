"""Describes the labels of the detection sources with a language model (F.5): annotations -> cleaned -> descriptions.

    vllm serve Qwen/Qwen2.5-7B-Instruct                  # or any other OpenAI-compatible server, hosted or local
    mmgic describe-labels --preset mmgic-7b --set language_model.base_url=http://127.0.0.1:8000/v1 \\
        --set language_model.model=Qwen/Qwen2.5-7B-Instruct

A label that brings its own description (all of V3Det's do) is not asked for. The key is read from the environment
variable that language_model.api_key_env names. Each label is one request of about 600 prompt tokens and 70 answered
ones. Answers are kept as they arrive, so that a run that was killed goes on where it was and nothing is paid for twice.
It ends with the labels by status, the tokens and their cost (by the prices in language_model.usd_per_million_*), and
where the descriptions are; write that path into the setting `descriptions`.

A person then goes through review.tsv beside them (accept, edit or reject) and runs the same command again. With --names
it only proposes names for the senses of polysemous labels, "batter (ballplayer)", from WordNet, for review as well.

Offline, on the toy world: start `python -m mmgic.toy.models.language_model_server` and use what it prints.
"""

import argparse

from mmgic.cli import add_settings_flags
from mmgic.settings import Settings


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--names", action="store_true", help="propose names for label senses from WordNet, and stop")
    add_settings_flags(parser)


def main(settings: Settings, flags: argparse.Namespace) -> None:
    from mmgic.language_model.client import check_server

    if not flags.names and settings.language_model.base_url:  # labels may all bring their descriptions along
        check_server(settings.language_model)

    from mmgic.checks.run import refuse_problems
    from mmgic.descriptions.table import status_table
    from mmgic.pipelines.labels import describe_labels, label_concepts, propose_sense_names
    from mmgic.stages.session import ray_session
    from mmgic.toy.datasets.write import ensure_world

    ensure_world(settings)
    refuse_problems(settings, ["labels"])
    with ray_session():
        if flags.names:
            path, new = propose_sense_names(settings)
            print(f"{new} new label senses in {path}; review them, then add --set labels.names={path} to every job")
            return
        concepts = label_concepts(settings)
    report = describe_labels(settings, concepts)
    print(status_table(report.entries))
    print(f"{report.asked:,} new answers; all so far: {report.usage.summary()}")
    print(f"review: {report.review}\ndescriptions: {report.descriptions}")
    if report.failed:
        print(f"{report.failed:,} requests failed; run the same command again to ask for these labels alone")
