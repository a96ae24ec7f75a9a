"""Scorers of prediction files in the benchmarks' own formats. They need no model and no torch."""
