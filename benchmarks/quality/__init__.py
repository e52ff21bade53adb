"""The benchmark of label-error detection; run it as ``python benchmarks/quality``."""
