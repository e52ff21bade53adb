"""Attacks on what gradsift writes and reads; run them as ``python benchmarks/chaos``."""
