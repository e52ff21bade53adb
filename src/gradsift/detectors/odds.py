"""The odds of a wrong label, raised to a power and multiplied: other probabilities, the same order of samples.

With ``o = p / (1 - p)`` the odds of a probability p, they become ``factor * o ** power``. The power says how sharply wrong
labels are told from right ones, the factor how many there are.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logit

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
    given = np.arange(len(labels)), labels
    before = np.clip(1.0 - posterior[given], 0.0, 1.0)
    after = expit(power * logit(before) + np.log(factor))
    changed = posterior * (after / np.maximum(before, TINY))[:, None]
    changed[given] = 1.0 - after
    return changed


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
