"""Benchmarks: running an exported model on them and scoring prediction files (Section 4, Appendix E.2)."""
