"""Builds what training reads from the settings' sources: detection (mmgic), image-caption (ic), MMC4 and instructions.

    mmgic build                                            # the toy world, about 2 minutes on 2 cores
    mmgic build --preset toy-all                           # every source of the paper in small
    ray job submit --working-dir . -- python jobs/build_data.py --preset mmgic-7b --set output=/shared/mmgic
    mmgic build --config my_sources.yaml --only ic         # the tables of one corpus, no token store

The paper's MMGIC (3.5 M images, 24 M regions) costs 28 M crops through the visual tokenizer on 8 GPUs. A stage prints
the rows that it read, kept and set aside, with the reasons. Interrupted at any point, the same command goes on where it
was; with other settings it refuses to mix tables. The result is `<output>/store/RECIPE`, which `mmgic pretrain` reads.
"""

import argparse

from mmgic.cli import add_settings_flags
from mmgic.schema import CORPORA
from mmgic.settings import Settings


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", choices=CORPORA, help="build the tables of this corpus alone")
    add_settings_flags(parser)


def main(settings: Settings, flags: argparse.Namespace) -> None:
    from dataclasses import replace

    from mmgic.analysis.report import report_on
    from mmgic.checks.run import refuse_problems
    from mmgic.pipelines.build import build, build_tables, check_corpus
    from mmgic.pipelines.common import sources_of
    from mmgic.stages.session import ray_session
    from mmgic.toy.datasets.write import ensure_world

    check_corpus(settings, flags.only)
    ensure_world(settings)
    checked = replace(settings, sources=sources_of(settings, flags.only)) if flags.only else settings
    refuse_problems(checked, ["tables" if flags.only else "data"])
    with ray_session():
        if flags.only:
            build_tables(settings, flags.only)
        else:
            print(f"token store: {build(settings).store_folder}")
    report_on(settings)
