"""How well held-out predictions explain given labels, some of which are wrong.

Given labels are drawn from the true class k by a flip matrix T[k, y]. A prediction q of the true class explains a label y
with the likelihood ``log sum_k q_k T[k, y]``. T and a temperature are fitted to the predictions of each training: those of
a model that was trained on wrong labels hold the flips already, those of a model that was cured of them do not.
"""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax

TEMPERATURES = (0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 4.5)
"""Temperatures that are tried."""
SMALLEST = 1e-6
"""Probability below which predictions are not told apart."""
ROUNDS = 20
"""Rounds of expectation maximisation."""
FITTED = 10_000
"""Most samples that the flip matrix is fitted to, evenly spaced."""
PRIOR_RATE = 10.0
"""Samples that the mean rate of flips counts for in the rate of a class."""
PRIOR_PATTERN = 2.0
"""Flips that an even spread counts for in the pattern of a class."""


def noisy_likelihood(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Log likelihood of each given label, under the flip matrix and the temperature that explain all labels best.

    Example:
        >>> predictions = np.repeat([[0.9, 0.1], [0.1, 0.9]], 50, axis=0)
        >>> right, wrong = np.repeat([0, 1], 50), np.tile([0, 1], 50)
        >>> bool(noisy_likelihood(predictions, right).mean() > noisy_likelihood(predictions, wrong).mean())
        True

    Args:
        predictions: Held-out probabilities, shape (m, K).
        labels: Given labels, shape (m,).

    Returns:
        In nats, shape (m,).
    """
    rows = np.unique(np.linspace(0, len(labels) - 1, min(FITTED, len(labels))).astype(int))
    logs = np.log(np.maximum(predictions.astype(np.float64), SMALLEST))
    best, likeliest = -np.inf, (1.0, np.eye(predictions.shape[1]))
    for temperature in TEMPERATURES:
        tempered = np.exp(log_softmax(logs[rows] / temperature, axis=1))
        flips = fit_flips(tempered, labels[rows])
        likelihood = float(_explained(tempered, labels[rows], flips).mean())
        if likelihood > best:
            best, likeliest = likelihood, (temperature, flips)
    temperature, flips = likeliest
    return _explained(np.exp(log_softmax(logs / temperature, axis=1)), labels, flips)


def fit_flips(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Fits a flip matrix by expectation maximisation.

    Args:
        predictions: Held-out probabilities q of the true class, shape (n, K).
        labels: Given labels, shape (n,).

    Returns:
        T, shape (K, K); rows sum to one. Classes with few samples have rates near the mean and even patterns.
    """
    classes = predictions.shape[1]
    flips = 0.8 * np.eye(classes) + 0.2 / classes
    given = np.eye(classes)[labels]
    for _ in range(ROUNDS):
        posterior = predictions * flips[:, labels].T
        posterior /= posterior.sum(axis=1, keepdims=True)
        counts = posterior.T @ given
        off = counts - np.diag(np.diag(counts))
        rate = (off.sum(axis=1) + PRIOR_RATE * off.sum() / counts.sum()) / (counts.sum(axis=1) + PRIOR_RATE)
        pattern = off + PRIOR_PATTERN / max(1, classes - 1)
        np.fill_diagonal(pattern, 0)
        pattern /= pattern.sum(axis=1, keepdims=True)
        flips = np.diag(1 - rate) + rate[:, None] * pattern
    return flips


def _explained(tempered: np.ndarray, labels: np.ndarray, flips: np.ndarray) -> np.ndarray:
    """``log sum_k q_k T[k, y]``, shape (m,)."""
    return np.log(np.maximum((tempered * flips[:, labels].T).sum(axis=1), SMALLEST))
