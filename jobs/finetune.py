"""`mmgic finetune` for `ray job submit`; mmgic/jobs/finetune.py says what it does."""

from mmgic.cli import run_job
from mmgic.jobs import finetune

if __name__ == "__main__":
    run_job(finetune.__doc__, finetune.main, finetune.add_flags)
