"""Figures on engines; ``python benchmarks/scale``."""
