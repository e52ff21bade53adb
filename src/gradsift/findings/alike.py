"""Pairs of vectors with a large cosine: all of them in a small set, by hashing in a large one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

WHOLE = 20_000
"""Up to so many vectors, all pairs are compared."""
BLOCK = 1_024
"""Vectors that are compared with others at a time."""
TABLES, BITS = 16, 14
"""In a larger set, vectors are compared whose projections on BITS directions have the same signs, in one of TABLES."""
EACH = 10
"""Of one vector, so many pairs are kept, those with the largest cosines."""


def alike_pairs(vectors: np.ndarray, least: float, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of vectors whose cosine is large.

    In more than :data:`WHOLE` vectors a pair with the cosine c comes together with the probability
    ``1 - (1 - (1 - arccos(c) / pi) ** BITS) ** TABLES`` (random hyperplanes, Charikar, STOC 2002).

    Args:
        vectors: Rows of length one, shape (m, D).
        least: Least cosine of a pair.
        seed: Seed of the directions.

    Returns:
        The smaller and the larger number of each pair, and its cosine; three arrays of one length, without repetition.
    """
    found = [np.zeros((0, 3))]
    for members in _groups(vectors, seed):
        for start in range(0, len(members), BLOCK):
            own = members[start : start + BLOCK]
            cosines = vectors[own] @ vectors[members].T
            cosines[np.arange(len(own)), start + np.arange(len(own))] = -np.inf
            count = min(EACH, len(members) - 1)
            nearest = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
            kept = np.take_along_axis(cosines, nearest, axis=1)
            row, column = np.nonzero(kept >= least)
            others = members[nearest[row, column]]
            found.append(np.stack([own[row], others, kept[row, column]], axis=1))
    first, second, cosine = np.concatenate(found).T
    ends = np.stack([np.minimum(first, second), np.maximum(first, second)], axis=1).astype(np.int64)
    ends, places = np.unique(ends, axis=0, return_index=True)
    return ends[:, 0], ends[:, 1], cosine[places]


def _groups(vectors: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """Numbers of the vectors that are compared with each other, rising; none of them is alone."""
    if len(vectors) <= WHOLE:
        if len(vectors) > 1:
            yield np.arange(len(vectors))
        return
    generator = np.random.default_rng(seed)
    for _ in range(TABLES):
        directions = generator.standard_normal((vectors.shape[1], BITS)).astype(vectors.dtype)
        codes = (vectors @ directions > 0) @ (1 << np.arange(BITS))
        order = np.argsort(codes, kind="stable")
        for members in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
            for start in range(0, len(members), WHOLE):
                if len(part := members[start : start + WHOLE]) > 1:
                    yield part


def groups_of(size: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """What hangs together by pairs.

    Args:
        size: Number of things.
        first: One end of each pair.
        second: The other end.

    Returns:
        The least number of each thing's group, shape (size,); -1 for what has no pair.
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    edges = csr_matrix((np.ones(len(first), dtype=bool), (first, second)), shape=(size, size))
    _, component = connected_components(edges, directed=False)
    least = np.full(size, size)
    np.minimum.at(least, component, np.arange(size))
    group = least[component]
    return np.where(np.bincount(component, minlength=size)[component] > 1, group, -1)
