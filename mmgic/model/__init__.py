"""The language model with a vision-language vocabulary."""
