"""LaVIT's released files, in and out."""
