"""How far an input is from its neighbours, compared with other samples."""

from __future__ import annotations

import numpy as np

from gradsift.detectors.neighbours import CHUNK, Nearest, drawn
from gradsift.store import GradientMatrix

NEIGHBOUR = 10
"""The distance to the 10th neighbour counts."""
REFERENCES, COMPARED = 10_000, 2_000
"""Neighbours are searched among so many samples, and the distance is compared with that of so many."""


def remoteness(features: GradientMatrix, positions: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """How far some samples are from their neighbours, compared with other samples.

    Distances are by cosine of last-layer features, to the 10th nearest neighbour.

    Args:
        features: Inputs of the last layer, shape (n, D).
        positions: Which samples.
        seed: Seed of the draw of samples among which neighbours are searched, and of those that are compared with.

    Returns:
        Share of the samples that are nearer to their neighbours, shape (len(positions),), in [0, 1].
    """
    references, usual = drawn(len(features), REFERENCES, seed), drawn(len(features), COMPARED, seed + 1)
    count = min(NEIGHBOUR, len(references) - 1)
    if count < 1:
        return np.zeros(len(positions))
    nearest = Nearest(features, references, count)

    def distances(which: np.ndarray) -> np.ndarray:
        pieces = [which[start : start + CHUNK] for start in range(0, len(which), CHUNK)]
        return np.concatenate([np.zeros(0), *(1 - nearest.of(piece)[1][:, -1] for piece in pieces)])

    return np.searchsorted(np.sort(distances(usual)), distances(positions), side="left") / len(usual)
