"""The toy world on disk, in the datasets' own formats."""
