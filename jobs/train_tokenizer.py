"""`mmgic train-tokenizer` for `ray job submit`; mmgic/jobs/train_tokenizer.py says what it does."""

from mmgic.cli import run_job
from mmgic.jobs import train_tokenizer

if __name__ == "__main__":
    run_job(train_tokenizer.__doc__, train_tokenizer.main, train_tokenizer.add_flags)
