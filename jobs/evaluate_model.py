"""`mmgic evaluate` for `ray job submit`; mmgic/jobs/evaluate.py says what it does."""

from mmgic.cli import run_job
from mmgic.jobs import evaluate

if __name__ == "__main__":
    run_job(evaluate.__doc__, evaluate.main, evaluate.add_flags)
