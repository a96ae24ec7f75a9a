"""A driver that a test kills: python download_driver.py CLUSTER OUTPUT; it fetches OUTPUT/ic/urls."""

import sys

import ray

from mmgic.pipelines.images import run_images
from mmgic.schema import CAPTIONED_IMAGE
from mmgic.settings import Settings, merge
from mmgic.stages.tables import read_table

CHANGES = {
    "download": {
        "images_per_shard": 20,
        "allow_private_addresses": True,
        "backoff_s": 0.05,
        "concurrency": 8,
        "per_host": 8,
    },
    "cleaning": {"min_short_side": 8},
    "cluster": {"data_workers": 2},
}

if __name__ == "__main__":
    cluster, output = sys.argv[1:]
    ray.init(address=cluster, log_to_driver=False)
    run_images(merge(Settings(output=output), CHANGES), "ic", read_table(f"{output}/ic/urls"), CAPTIONED_IMAGE)
