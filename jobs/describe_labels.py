"""`mmgic describe-labels` for `ray job submit`; mmgic/jobs/describe_labels.py says what it does."""

from mmgic.cli import run_job
from mmgic.jobs import describe_labels

if __name__ == "__main__":
    run_job(describe_labels.__doc__, describe_labels.main, describe_labels.add_flags)
