"""What would stop a run later, found before it starts: sources, model folders, the machine. All problems at once.

Each module checks one thing that a run needs and returns its problems, a sentence each. Nothing here writes anything
but an empty file that is removed again, and nothing takes longer than seconds: of images a sample is opened, of weights
the headers are read, and a source whose first records take longer to reach is said to be unchecked.
"""
