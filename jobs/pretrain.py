"""`mmgic pretrain` for `ray job submit`; mmgic/jobs/pretrain.py says what it does."""

from mmgic.cli import run_job
from mmgic.jobs import pretrain

if __name__ == "__main__":
    run_job(pretrain.__doc__, pretrain.main)
