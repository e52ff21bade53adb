"""The run directory: gradient shards, manifest, fingerprints, resume."""

from gradsift.store.arrays import ShardedArray
from gradsift.store.collect import collect
from gradsift.store.fingerprint import fingerprint_model, fingerprint_settings
from gradsift.store.gradient_matrix import (
    ArrayMatrix,
    FactoredMatrix,
    GradientMatrix,
    StoredMatrix,
    as_gradient_matrix,
)
from gradsift.store.run_directory import RunDirectory

__all__ = [
    "ArrayMatrix",
    "FactoredMatrix",
    "GradientMatrix",
    "RunDirectory",
    "ShardedArray",
    "StoredMatrix",
    "as_gradient_matrix",
    "collect",
    "fingerprint_model",
    "fingerprint_settings",
]
