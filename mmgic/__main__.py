"""`python -m mmgic`: the `mmgic` command where no script was installed."""

import sys

from mmgic.cli import main

if __name__ == "__main__":
    sys.exit(main())
