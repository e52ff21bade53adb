"""Samples whose inputs are almost the same: the same picture brighter, cut or shifted, the same text with other words."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from gradsift.findings.aligned import aligned_correlation
from gradsift.findings.alike import WHOLE, alike_pairs
from gradsift.findings.inputs import Inputs
from gradsift.findings.signature import SIDE, comparable
from gradsift.store import GradientMatrix

CANDIDATES = {"image": 0.5, "signal": 0.9, "audio": 0.9, "text": 0.8, "chat": 0.8}
"""Least cosine of two signatures that are looked at, by form."""
SAME_PICTURE = 0.96
"""Correlation of two thumbnails from which they show the same picture."""
TOGETHER = 10_000
"""Pairs that are compared at a time."""
SAME_FEATURES = 0.99
"""Cosine of two samples' features, less their mean, from which they may be near duplicates."""
CHECKED = 3_000
"""At most so many pairs of pictures are laid onto each other, those with the largest cosines."""
TYPICAL = 0.1
"""Near duplicates differ by less than this share of what inputs and their nearest ones typically differ by."""


@dataclass(frozen=True)
class Pairs:
    """Pairs of inputs that are almost the same; numbers are those of the inputs that were read.

    Attributes:
        first: The smaller number of each pair, shape (p,).
        second: The larger number.
        likeness: How alike they are, in [0, 1]; 1 where they are the same.
    """

    first: np.ndarray
    second: np.ndarray
    likeness: np.ndarray

    def at_least(self, likeness: float) -> Pairs:
        """The pairs that are so much alike.

        Args:
            likeness: The least likeness.

        Returns:
            These pairs.
        """
        kept = self.likeness >= likeness
        return Pairs(self.first[kept], self.second[kept], self.likeness[kept])


def near_duplicates(inputs: Inputs, *, seed: int = 0) -> Pairs:
    """Finds pairs of inputs that are almost the same.

    Args:
        inputs: What was read of the data set.
        seed: Seed of the hashing, in large sets.

    Returns:
        The pairs, the same input included.
    """
    candidates, least = alike_inputs(inputs, seed=seed)
    return candidates.at_least(least)


def alike_inputs(inputs: Inputs, *, seed: int = 0) -> tuple[Pairs, float]:
    """Finds pairs of inputs that are alike, and how alike those are that count as near duplicates.

    Args:
        inputs: What was read of the data set.
        seed: Seed of the hashing, in large sets.

    Returns:
        The pairs, the same input included, and the least likeness of near duplicates.
    """
    same, least = _same(inputs), 1.0
    if len(inputs.compared) < 2:
        return same, least
    vectors = inputs.vectors.astype(np.float32)
    if inputs.form == "features":
        alike, least = _alike_rows(vectors), 1 - TYPICAL
    else:
        first, second, cosines = alike_pairs(comparable(vectors, inputs.form), CANDIDATES[inputs.form], seed=seed)
        alike, least = Pairs(first, second, np.clip(cosines, 0.0, 1.0)), CANDIDATES[inputs.form]
    if inputs.form == "image":
        alike, least = _alike_pictures(vectors, alike)
    first, second = inputs.compared[alike.first], inputs.compared[alike.second]
    return Pairs(
        np.concatenate([same.first, first]),
        np.concatenate([same.second, second]),
        np.concatenate([same.likeness, alike.likeness]),
    ), least


def near_features(features: GradientMatrix, *, seed: int = 0) -> tuple[np.ndarray, Pairs]:
    """Finds samples with almost the same features, where inputs are not at hand.

    Args:
        features: Features of all samples, shape (n, D).
        seed: Seed of the hashing, in large sets.

    Returns:
        The positions that were compared, at most :data:`~gradsift.findings.alike.WHOLE`, evenly spaced; and the pairs.
    """
    positions = np.unique(np.linspace(0, len(features) - 1, min(WHOLE, len(features))).astype(np.int64))
    rows = features.rows(positions).astype(np.float32)
    unit = _rows_of_length_one(rows - rows.mean(axis=0))
    first, second, cosines = alike_pairs(unit, -1.0, seed=seed)
    kept = cosines >= max(SAME_FEATURES, 1 - TYPICAL * _typical(len(unit), first, second, cosines))
    return positions, Pairs(first[kept], second[kept], np.clip(cosines[kept], 0.0, 1.0))


def _same(inputs: Inputs) -> Pairs:
    """Inputs with the same hash, each paired with the first of them."""
    places = defaultdict(list)
    for place, digest in enumerate(inputs.digests):
        if digest and int(inputs.positions[place]) not in inputs.broken:
            places[digest].append(place)
    pairs = [(group[0], other) for group in places.values() for other in group[1:]]
    first, second = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return Pairs(first, second, np.ones(len(first)))


def _alike_pictures(vectors: np.ndarray, pairs: Pairs) -> tuple[Pairs, float]:
    """How well pictures agree as they are, or once one is laid onto the other, and how well the same ones do."""
    plain, agree = _rows_of_length_one(vectors), np.empty(len(pairs.first))
    for start in range(0, len(agree), TOGETHER):
        some = slice(start, start + TOGETHER)
        agree[some] = np.einsum("ij,ij->i", plain[pairs.first[some]], plain[pairs.second[some]])
    least = max(SAME_PICTURE, 1 - TYPICAL * _typical(len(vectors), pairs.first, pairs.second, agree))
    unsettled = np.flatnonzero(agree < least)
    laid = unsettled[np.argsort(-pairs.likeness[unsettled], kind="stable")[:CHECKED]]
    thumbnails = vectors.reshape(-1, SIDE, SIDE)
    aligned = aligned_correlation(thumbnails[pairs.first[laid]], thumbnails[pairs.second[laid]])
    agree[laid] = np.maximum(agree[laid], aligned)
    return Pairs(pairs.first, pairs.second, np.clip(agree, 0.0, 1.0)), least


def _typical(size: int, first: np.ndarray, second: np.ndarray, agree: np.ndarray) -> float:
    """Median over pictures of the distance ``1 - correlation`` to the nearest other one."""
    best = np.full(size, -np.inf)
    np.maximum.at(best, first, agree)
    np.maximum.at(best, second, agree)
    known = best[np.isfinite(best)]
    return float(1 - np.median(known)) if len(known) else 1.0


def _alike_rows(vectors: np.ndarray) -> Pairs:
    """Rows of numbers with their nearest ones, in small tables; 1 is the same, 0 is as far as typical neighbours."""
    from sklearn.neighbors import NearestNeighbors

    nothing = np.zeros(0, dtype=np.int64)
    if not 2 < len(vectors) <= WHOLE:
        return Pairs(nothing, nothing, np.zeros(0))
    scaled = (vectors - vectors.mean(axis=0)) / np.maximum(vectors.std(axis=0), 1e-12)
    distances, nearest = NearestNeighbors(n_neighbors=2).fit(scaled).kneighbors()
    typical = max(float(np.median(distances[:, 0])), 1e-12)
    own, rank = np.nonzero(distances < typical)
    ends, places = np.unique(np.sort(np.stack([own, nearest[own, rank]], axis=1), axis=1), axis=0, return_index=True)
    return Pairs(ends[:, 0], ends[:, 1], 1 - distances[own, rank][places] / typical)


def _rows_of_length_one(vectors: np.ndarray) -> np.ndarray:
    centred = vectors - vectors.mean(axis=1, keepdims=True)
    unit: np.ndarray = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    return unit
