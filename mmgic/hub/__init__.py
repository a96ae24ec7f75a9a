"""Finished tables as folders in the layout of the Hugging Face `datasets` library, and back."""
