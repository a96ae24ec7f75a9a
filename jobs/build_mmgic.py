"""Builds the MMGIC corpus: annotations -> cleaned -> regions -> visual tokens -> documents -> token store.

    python jobs/build_mmgic.py                                            # the toy world, about 2 minutes on 2 cores
    ray job submit --working-dir . -- python jobs/build_mmgic.py --preset mmgic-7b --set output=/shared/mmgic
    python jobs/build_mmgic.py --config my_sources.yaml --set output=/tmp/mine --set toy.scenes=0

The paper's corpus (3.5 M images, 24 M regions) costs 28 M crops through the visual tokenizer on 8 GPUs. A stage prints
the rows that it read, kept and set aside, with the reasons. Interrupted at any point, the same command goes on where it
was; with other settings it refuses to mix tables. The result is `<output>/store`, which jobs/pretrain.py reads.
"""

import argparse

from mmgic.cli import run_job
from mmgic.settings import Settings


def main(settings: Settings, flags: argparse.Namespace) -> None:
    from mmgic import road

    with road.ray_session():
        report = road.prepare_data(settings)
    print(f"token store: {report.store_folder}")


if __name__ == "__main__":
    run_job(__doc__, main)
