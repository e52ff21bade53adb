"""Nearest neighbours by cosine of the last layer's features, a few samples at a time."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import normalize

from gradsift.store import GradientMatrix

CHUNK = 1024
"""Samples that are looked at together."""


def drawn(size: int, most: int, seed: int) -> np.ndarray:
    """Samples among which neighbours are searched.

    Args:
        size: Number of samples n.
        most: At most so many; all where there are no more.
        seed: Seed of the draw.

    Returns:
        Positions in order, shape (min(n, most),).
    """
    if size <= most:
        return np.arange(size)
    return np.sort(np.random.default_rng(seed).choice(size, most, replace=False))


class Nearest:
    """Finds the nearest neighbours of samples among references; a sample is no neighbour of its own.

    Args:
        features: Inputs of the last layer, shape (n, D).
        references: Positions among which neighbours are searched, in order, shape (r,).
        count: How many neighbours, less than r.
    """

    def __init__(self, features: GradientMatrix, references: np.ndarray, count: int) -> None:
        self._features, self._references, self._count = features, references, count
        self._near_to = _unit(features.rows(references))

    def of(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The nearest neighbours of some samples.

        Args:
            positions: Which samples, shape (m,).

        Returns:
            Their numbers among the references, int32, and their cosines, float32, each of shape (m, count), nearest first.
        """
        shape, references = (len(positions), self._count), self._references
        found, cosines = np.empty(shape, np.int32), np.empty(shape, np.float32)
        for start in range(0, len(positions), CHUNK):
            own = positions[start : start + CHUNK]
            likeness = _unit(self._features.rows(own)) @ self._near_to.T
            place = np.minimum(np.searchsorted(references, own), len(references) - 1)
            among = np.flatnonzero(references[place] == own)
            likeness[among, place[among]] = -torch.inf
            most = likeness.topk(self._count, dim=1)
            found[start : start + CHUNK], cosines[start : start + CHUNK] = most.indices.numpy(), most.values.numpy()
        return found, cosines


def _unit(rows: np.ndarray) -> torch.Tensor:
    """Rows of length one, float32; what has no length stays zero."""
    return normalize(torch.from_numpy(rows.astype(np.float32)), dim=1, eps=1e-12)
