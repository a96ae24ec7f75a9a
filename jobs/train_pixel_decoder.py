"""`mmgic train-pixel-decoder` for `ray job submit`; mmgic/jobs/train_pixel_decoder.py says what it does."""

from mmgic.cli import run_job
from mmgic.jobs import train_pixel_decoder

if __name__ == "__main__":
    run_job(train_pixel_decoder.__doc__, train_pixel_decoder.main, train_pixel_decoder.add_flags)
