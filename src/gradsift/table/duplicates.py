"""Samples that have the same input as a flagged one and another label, found without comparing all pairs.

Equal inputs have equal last-layer features, up to float rounding. So candidates are neighbours in the order of a random
projection of the features that agree in further projections, too: n log n. Other inputs may have equal features as well, as
where most units are dead; so candidates are read, and their inputs compared whole by a hash.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict

import numpy as np

from gradsift.data import Samples, inputs_of
from gradsift.data.fingerprint import update_digest
from gradsift.errors import DataError
from gradsift.store import GradientMatrix

PROJECTIONS = 4
ROUNDING = 1e-5
"""Projections of equal inputs' features differ by at most this share of the features' length: float32 rounding."""
WINDOW = 1024
"""At most so many neighbours in the order are looked at, for each flagged sample."""
READS = 10_000
"""At most so many samples are read; those with the fewest candidates come first, for true duplicates are few."""


def conflicting_duplicates(
    positions: np.ndarray, labels: np.ndarray, features: GradientMatrix, samples: Samples, *, seed: int = 0
) -> dict[int, np.ndarray]:
    """Finds samples with the same input as some flagged ones, but another label.

    Args:
        positions: The flagged samples.
        labels: Given labels of all samples, shape (n,).
        features: What depends on a sample's input alone, shape (n, D): inputs of the last layer, or predictions.
        samples: The data set.
        seed: Seed of the projections.

    Returns:
        Position of a flagged sample to the positions of its duplicates, in order; only of those that have any.
    """
    candidates = _candidates(positions, labels, features, seed)
    read: set[int] = set()
    for position in sorted(candidates, key=lambda one: len(candidates[one])):
        group = {position, *candidates[position].tolist()} - read
        if len(read) + len(group) > READS:
            break
        read |= group
    try:
        digests = {position: _digest(samples, position) for position in sorted(read)}
    except DataError:  # samples of a task of the user's own, whose inputs cannot be told from its labels
        return {}
    twins: dict[bytes, list[int]] = defaultdict(list)
    for position, digest in digests.items():
        twins[digest].append(position)
    conflicts = {}
    for position in sorted(candidates.keys() & read):
        same = np.array(twins[digests[position]], dtype=np.int64)
        conflicting = same[labels[same] != labels[position]]
        if len(conflicting):
            conflicts[position] = conflicting
    return conflicts


def _candidates(
    positions: np.ndarray, labels: np.ndarray, features: GradientMatrix, seed: int
) -> dict[int, np.ndarray]:
    """Samples whose features equal those of a flagged one, but whose labels differ."""
    directions = np.random.default_rng(seed).standard_normal((features.shape[1], PROJECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    values, slack = np.empty((len(features), PROJECTIONS)), np.empty(len(features))
    for start, rows in features.chunks():
        rows = rows.astype(np.float64)
        values[start : start + len(rows)] = rows @ directions
        slack[start : start + len(rows)] = ROUNDING * np.linalg.norm(rows, axis=1)
    order = np.argsort(values[:, 0], kind="stable")
    ordered = values[order, 0]
    first = np.searchsorted(ordered, values[positions, 0] - slack[positions], side="left")
    last = np.searchsorted(ordered, values[positions, 0] + slack[positions], side="right")
    middle = np.searchsorted(ordered, values[positions, 0], side="left")
    candidates = {}
    for position, low, high, own in zip(positions.tolist(), first, last, middle, strict=True):
        near = order[max(low, own - WINDOW // 2) : min(high, own + WINDOW // 2)]
        equal = (np.abs(values[near] - values[position]) <= slack[position]).all(axis=1)
        near = near[equal & (labels[near] != labels[position])]
        if len(near):
            candidates[position] = near
    return candidates


def _digest(samples: Samples, position: int) -> bytes:
    digest = hashlib.sha256()
    update_digest(digest, inputs_of(samples.sample(position)))
    return digest.digest()
