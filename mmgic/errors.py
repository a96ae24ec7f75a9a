"""Errors whose message is meant for the user: one sentence that says what is wrong and what to do."""


class InputError(ValueError):
    """Something the user gave (a file, a folder, a checkpoint) cannot be used."""
