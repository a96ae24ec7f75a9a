"""Interleaved documents (C.6)."""
