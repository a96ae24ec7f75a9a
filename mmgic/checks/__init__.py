"""What would stop a run later, found before it starts: sources, model folders, the machine. All problems at once.

Each module checks one thing that a run needs and returns its problems, a sentence each. Nothing here writes anything
but an empty file that is removed again, and nothing takes longer than seconds: of images a sample is opened, of weights
the headers are read, and a source whose first records take longer to reach is said to be unchecked.
"""

from typing import Literal, get_args

# What a check may be about. data: the tables and the token store; tokenizer, pixels: training of the visual modules
Work = Literal["labels", "tables", "data", "training", "evaluation", "tokenizer", "pixels"]
WORKS: tuple[Work, ...] = get_args(Work)
RUN: tuple[Work, ...] = ("labels", "tables", "data", "training", "evaluation")  # from annotations to scores
