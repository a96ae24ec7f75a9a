"""Image-caption datasets (G.1)."""
