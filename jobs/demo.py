"""`mmgic demo` for `ray job submit`; mmgic/jobs/demo.py says what it does."""

from mmgic.cli import run_job
from mmgic.jobs import demo

if __name__ == "__main__":
    run_job(demo.__doc__, demo.main)
