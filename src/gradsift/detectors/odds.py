"""Other probabilities of a wrong label: its odds raised to a power and multiplied, or the same values in another order.

With ``o = p / (1 - p)`` the odds of a probability p, they become ``factor * o ** power``. The power says how sharply wrong
labels are told from right ones, the factor how many there are.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logit
from scipy.stats import rankdata

from gradsift.scratch import empty

TINY = 1e-12
"""Probabilities of wrong labels below are not divided by."""


def with_odds(posterior: np.ndarray, labels: np.ndarray, *, power: float, factor: float) -> np.ndarray:
    """Changes the odds of a wrong label; the other classes keep their proportions.

    Args:
        posterior: Probabilities of the true class, shape (n, K).
        labels: Given labels, shape (n,).
        power: What the odds are raised to, above 0.
        factor: What they are multiplied with then, above 0.

    Returns:
        Shape (n, K), float64; rows sum to one.

    Example:
        >>> with_odds(np.array([[0.5, 0.4, 0.1]]), np.array([0]), power=1, factor=3).round(3).tolist()
        [[0.25, 0.6, 0.15]]
    """
    before = np.clip(1.0 - posterior[np.arange(len(labels)), labels], 0.0, 1.0)
    return with_wrong(posterior, labels, expit(power * logit(before) + np.log(factor)))


def with_wrong(posterior: np.ndarray, labels: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Gives every label another probability of being wrong; the other classes keep their proportions.

    Args:
        posterior: Probabilities of the true class, shape (n, K).
        labels: Given labels, shape (n,).
        wrong: Probabilities that these are wrong, shape (n,).

    Returns:
        Shape (n, K), float64; rows sum to one.

    Example:
        >>> with_wrong(np.array([[0.5, 0.4, 0.1]]), np.array([0]), np.array([0.75])).round(3).tolist()
        [[0.25, 0.6, 0.15]]
    """
    given = np.arange(len(labels)), labels
    changed = np.array(posterior, dtype=np.float64)
    changed[given] = 0.0
    changed[~changed.any(axis=1)] = 1.0  # of a label that was certain, the other classes are alike
    changed[given] = 0.0
    changed *= (wrong / changed.sum(axis=1))[:, None]
    changed[given] = 1.0 - wrong
    return changed


def in_mean_order(values: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The same values, dealt out anew in the order of the mean of two ranks.

    Args:
        values: Numbers, shape (n,).
        other: Numbers that order the samples otherwise, shape (n,); their size does not count.

    Returns:
        Shape (n,): a permutation of ``values``.

    Example:
        >>> in_mean_order(np.array([0.1, 0.2, 0.9]), np.array([0.3, 0.0, 0.8])).tolist()
        [0.1, 0.2, 0.9]
    """
    order = np.lexsort((values, rankdata(values) + rankdata(other)))  # of equal means, the larger value comes later
    dealt = np.empty_like(values)
    dealt[order] = np.sort(values)
    return dealt


def odds_for_mean(wrong: np.ndarray, mean: float) -> float:
    """What all odds ``p / (1 - p)`` are to be multiplied with, so that probabilities have a mean.

    Args:
        wrong: Probabilities, shape (n,).
        mean: The mean that they shall have.

    Returns:
        The factor, between 1e-6 and 1e6.
    """
    (odds, scaled, above), low, high = (empty(wrong.shape) for _ in range(3)), -6.0, 6.0
    np.divide(wrong, np.maximum(np.subtract(1, wrong, out=scaled), TINY, out=scaled), out=odds)
    for _ in range(50):
        middle = (low + high) / 2
        np.multiply(odds, 10**middle, out=scaled)
        np.divide(scaled, np.add(1, scaled, out=above), out=scaled)
        low, high = (middle, high) if scaled.mean() < mean else (low, middle)
    return float(10 ** ((low + high) / 2))
