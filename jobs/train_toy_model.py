"""`mmgic train-toy-model` for `ray job submit`; mmgic/jobs/train_toy_model.py says what it does."""

from mmgic.cli import run_job
from mmgic.jobs import train_toy_model

if __name__ == "__main__":
    run_job(train_toy_model.__doc__, train_toy_model.main, train_toy_model.add_flags)
