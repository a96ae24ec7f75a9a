"""Builds what is missing of the data, then pre-trains on it with Ray Train and DeepSpeed.

    ray job submit --working-dir . -- python jobs/pretrain.py                      # toy world, ~4 minutes on 2 cores
    ray job submit --working-dir . -- python jobs/pretrain.py --preset mmgic-7b    # the paper's run, 32 GPUs

Interrupted at any point, the same command goes on where it was. The result is a Llama folder under `<output>/model` that
Transformers and vLLM load.
"""

from mmgic import road
from mmgic.cli import run_job
from mmgic.settings import Settings


def main(settings: Settings) -> None:
    with road.ray_session():
        road.prepare_data(settings)
        result = road.pretrain(settings)
    print(f"trained model: {result}")


if __name__ == "__main__":
    run_job(__doc__, main)
