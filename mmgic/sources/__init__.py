"""Datasets on disk as rows: `formats` lists what can be read."""
