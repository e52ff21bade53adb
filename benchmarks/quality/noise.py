"""Planted label noise beyond ``gradsift.evaluation.flip_labels``: by class, and by instance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import softmax
from scipy.stats import truncnorm


def by_class(labels: np.ndarray, matrix: Sequence[Sequence[float]] | np.ndarray, *, seed: int) -> np.ndarray:
    """Class-dependent noise: given labels are drawn from a transition matrix.

    Args:
        labels: True class numbers, shape (n,).
        matrix: ``P(given = j | true = i)``, shape (K, K); rows sum to one.
        seed: Seed.

    Returns:
        Given labels, shape (n,).
    """
    edges = np.cumsum(np.asarray(matrix, dtype=np.float64), axis=1)[labels]
    drawn = np.random.default_rng([seed, 51]).random(len(labels))
    return np.minimum((drawn[:, None] >= edges).sum(axis=1), edges.shape[1] - 1)


def to_look_alikes(labels: np.ndarray, look_alike: Sequence[int], rate: float, *, seed: int) -> np.ndarray:
    """Asymmetric noise: each label turns into that of one look-alike class with the same probability.

    Args:
        labels: True class numbers, shape (n,).
        look_alike: For each class the class that it is mistaken for.
        rate: The probability.
        seed: Seed.

    Returns:
        Given labels, shape (n,).
    """
    matrix = (1 - rate) * np.eye(len(look_alike))
    matrix[np.arange(len(look_alike)), list(look_alike)] += rate
    return by_class(labels, matrix, seed=seed)


def by_instance(inputs: np.ndarray, labels: np.ndarray, rate: float, *, seed: int, spread: float = 0.1) -> np.ndarray:
    """Instance-dependent noise by the recipe of Xia et al. (Part-dependent Label Noise, NeurIPS 2020, algorithm 2).

    Each sample has its own flip rate ``q_i ~ N(rate, spread^2)``, truncated to [0, 1]. Each class has a random matrix
    ``W_y ~ N(0, 1)`` of shape (features, K); the given label is drawn from ``q_i softmax(x_i W_y)`` over the other classes,
    and is the true one with probability ``1 - q_i``.

    Args:
        inputs: Standardised inputs, shape (n, ...); they are flattened.
        labels: True class numbers, shape (n,).
        rate: Mean flip rate.
        seed: Seed.
        spread: Standard deviation of the flip rates.

    Returns:
        Given labels, shape (n,).
    """
    generator = np.random.default_rng([seed, 52])
    classes, flat = int(labels.max()) + 1, inputs.reshape(len(inputs), -1)
    rates = truncnorm.rvs(-rate / spread, (1 - rate) / spread, rate, spread, size=len(labels), random_state=generator)
    given = np.empty_like(labels)
    for label in range(classes):
        rows = np.flatnonzero(labels == label)
        leaning = flat[rows].astype(np.float64) @ generator.standard_normal((flat.shape[1], classes))
        leaning[:, label] = -np.inf
        chances = rates[rows, None] * softmax(leaning, axis=1)
        chances[:, label] = 1 - rates[rows]
        drawn = generator.random(len(rows))[:, None]
        given[rows] = np.minimum((drawn >= np.cumsum(chances, axis=1)).sum(axis=1), classes - 1)
    return given
