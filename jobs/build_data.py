"""`mmgic build` for `ray job submit`; mmgic/jobs/build.py says what it does."""

from mmgic.cli import run_job
from mmgic.jobs import build

if __name__ == "__main__":
    run_job(build.__doc__, build.main, build.add_flags)
