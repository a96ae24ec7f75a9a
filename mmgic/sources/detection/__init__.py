"""Detection datasets (F.1): annotated images."""
