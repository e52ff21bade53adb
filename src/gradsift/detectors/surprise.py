"""Several ways of being unexpected, each on a scale of its own, joined into one probability by chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import gamma, t

FREEDOM = 3
"""Degrees of freedom of Student's t: usual losses have heavier tails than a normal distribution."""
SMALLEST = 1e-60
"""Probabilities below are taken for this, so that their product stays a number."""
NOT_KNOWN = np.exp(-1.0)
"""The probability that changes nothing, where a value is not known: its logarithm is what is expected by chance."""


def robust_z(values: np.ndarray) -> np.ndarray:
    """Robust z-scores, ``(v - median) / (1.4826 MAD)``.

    Where more than half of the values are equal, the MAD is zero, and 1.2533 times the mean absolute deviation takes its
    place.

    Args:
        values: Shape (n,).

    Returns:
        Shape (n,); zeros where all values are the same.
    """
    distances = np.abs(values - np.median(values))
    spread = 1.4826 * np.median(distances) or 1.2533 * distances.mean()
    return (values - np.median(values)) / spread if spread > 0 else np.zeros(len(values))


def chances(views: Sequence[np.ndarray]) -> np.ndarray:
    """How probable it is by chance to lie so far above the middle, in each way.

    Robust z-scores are looked up in Student's t. Ranks would tell the order alone, and not that what was cut off or is in
    another language lies apart from all others.

    Args:
        views: Values in each of V ways, each of shape (n,); high = unexpected, NaN where one is not known.

    Returns:
        Shape (n, V).
    """
    columns = np.full((len(views[0]), len(views)), NOT_KNOWN)
    for column, view in zip(columns.T, views, strict=True):
        known = np.isfinite(view)
        if known.any():
            column[known] = np.maximum(t.sf(robust_z(view[known]), FREEDOM), SMALLEST)
    return columns


def log_chance(probabilities: np.ndarray) -> np.ndarray:
    """Fisher's method: ``-2 sum ln p_v`` has a chi-squared distribution with 2 V degrees of freedom by chance.

    Args:
        probabilities: Shape (n, V).

    Returns:
        Logarithm to the base 10 of the joined probability, shape (n,), at most 0.

    Example:
        >>> log_chance(np.array([[0.5, 0.5], [0.001, 0.5]])).round(1).tolist()
        [-0.2, -2.4]
    """
    joined = gamma.logsf(-np.log(probabilities).sum(axis=1), probabilities.shape[1])
    return np.asarray(joined / np.log(10), dtype=np.float64)


def shares(probabilities: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """How large a share of some samples is at least as far out, in each way: conformal p-values.

    Tails tell how far out a sample lies, shares how many others lie there, too: what one sample in ten does is a habit of
    the set, however far from the middle it is.

    Args:
        probabilities: Of :func:`chances`, shape (n, V).
        rest: Positions of the samples that are counted; a sample that is none of them counts itself, too. One beyond all
            of them keeps its probability where that is smaller, for of shares there are none below one in so many.

    Returns:
        Shape (n, V), above 0.

    Example:
        >>> shares(np.array([[0.001], [0.002], [0.4], [0.6]]), np.array([1, 2, 3])).ravel().round(3).tolist()
        [0.001, 0.333, 0.667, 1.0]
    """
    counted = np.zeros(len(probabilities), dtype=bool)
    counted[rest] = True
    among = np.sort(probabilities[counted], axis=0)
    columns = zip(among.T, probabilities.T, strict=True)
    out = np.stack([np.searchsorted(own, column, side="right") for own, column in columns], axis=1)
    share = (out + ~counted[:, None]) / (len(among) + ~counted[:, None])
    return np.where(out == 0, np.minimum(share, probabilities), share)
