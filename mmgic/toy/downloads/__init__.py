"""Stand-ins of everything that the paper's presets expect to be downloaded, in the very layout of the downloads.

What is reduced is sizes alone: how many records a file holds, how wide and deep a model is, how many tokens it knows.
"""
