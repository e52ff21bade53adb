"""A short hash that tells one data set from another."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from gradsift.data.samples import Samples

SAMPLED = 256
"""How many samples are hashed where a data set is not held as arrays."""


def fingerprint_samples(samples: Samples) -> tuple[str, str]:
    """Hashes a data set: arrays whole, anything else by its length and evenly spaced samples.

    Args:
        samples: The data set; where it encodes rows of another one, the rows count.

    Returns:
        The SHA-256 in hexadecimal, and in words what it covers.
    """
    samples = samples.raw
    digest = hashlib.sha256(str(len(samples)).encode())
    arrays = samples.arrays
    if arrays is not None:
        update_digest(digest, arrays)
        return digest.hexdigest(), "all samples"
    positions = np.unique(np.linspace(0, len(samples) - 1, min(SAMPLED, len(samples))).astype(int))
    for position in positions:
        update_digest(digest, samples.sample(int(position)))
    covered = "all samples" if len(positions) == len(samples) else f"{len(positions)} of {len(samples)} samples"
    return digest.hexdigest(), covered


def update_digest(digest: Any, tree: Any) -> None:
    """Adds a sample, or whole columns, to a hash.

    Args:
        digest: The hash.
        tree: Tensors, arrays, images or plain values, in tuples, lists and dicts.
    """
    leaves, structure = tree_flatten(tree)
    digest.update(str(structure).encode())
    for leaf in leaves:
        if isinstance(leaf, Tensor):
            digest.update(f"{leaf.dtype}{tuple(leaf.shape)}".encode())
            flat = leaf.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().data if flat.numel() else b"")
        elif isinstance(leaf, np.ndarray | np.generic):
            array = np.ascontiguousarray(leaf)
            digest.update(f"{array.dtype}{array.shape}".encode())
            if array.dtype == object:
                update_digest(digest, array.reshape(-1).tolist())
            elif array.size:
                digest.update(array.reshape(-1).view(np.uint8).data)
        elif callable(getattr(leaf, "tobytes", None)):  # a Pillow image, whose repr says where it lies
            digest.update(f"{type(leaf).__qualname__}{getattr(leaf, 'size', '')}{getattr(leaf, 'mode', '')}".encode())
            digest.update(leaf.tobytes())
        else:
            digest.update(repr(leaf).encode())
