"""Training on the token store."""
