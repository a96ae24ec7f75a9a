"""What a run made, for people to look at: counts, curves and an HTML report."""
