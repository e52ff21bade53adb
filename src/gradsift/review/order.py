"""In which order people are asked: what is gained soonest comes first."""

from __future__ import annotations

import numpy as np

from gradsift.errors import DataError


def expected_worth(
    probabilities: np.ndarray, seconds: np.ndarray | float = 1.0, worth: np.ndarray | float = 1.0
) -> np.ndarray:
    """Samples by expected worth of a decision per second: ``P(wrong) x worth / seconds``, the highest first.

    Example:
        >>> expected_worth(np.array([0.2, 0.9, 0.6]), np.array([1.0, 4.0, 1.0])).tolist()
        [2, 1, 0]

    Args:
        probabilities: Probability that each label is wrong, shape (m,), in [0, 1]. NaN comes last.
        seconds: Expected seconds of a decision, above 0: one number, or shape (m,).
        worth: What a corrected label is worth, at least 0: one number, or shape (m,).

    Returns:
        Places in these arrays, shape (m,); of equal values the earlier place comes first.

    Raises:
        DataError: Seconds are no positive numbers, worth is negative, or shapes differ.
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    shape = probabilities.shape
    for name, values in (("seconds", seconds), ("worth", worth)):
        if np.shape(values) not in ((), shape):
            raise DataError(
                f"{name} has shape {np.shape(values)}: give one number, or one for each of {len(probabilities)}"
            )
    if not (np.all(np.isfinite(seconds)) and np.all(np.asarray(seconds) > 0)):
        raise DataError("seconds of a decision are positive numbers: give the reviewer's median")
    if not (np.all(np.isfinite(worth)) and np.all(np.asarray(worth) >= 0)):
        raise DataError("worth of a corrected label is a number of 0 or more")
    rate = probabilities * worth / seconds
    return np.argsort(-np.where(np.isnan(rate), -np.inf, rate), kind="stable")
