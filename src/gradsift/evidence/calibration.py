"""Which epochs of a cross-fit are believed, and how sharply: chosen by the likelihood of the given labels.

A model that has not seen a sample predicts ``q_i`` of its true class; labels are flipped from class k to j with probability
``T[k, j]``. So the given labels have the likelihood ``mean_i log sum_k q_ik T[k, y_i]``. It reads no true label, and
predictions out of fold cannot have memorised the given ones.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import softmax

logger = logging.getLogger(__name__)

PARTS = 4
"""A window begins and ends at a multiple of this share of the epochs."""
SHARPEST, FLATTEST = 0.1, 2.5
"""Temperatures that are tried."""
SMALLEST = 1e-6
"""Probabilities below are taken for this."""
UNSURE = 1e-3
"""Probability that is spread over all classes, so that no label is impossible."""
FEWEST = 200
"""With fewer samples the temperature stays 1: their likelihood tells too little."""
READ = 10_000
"""At most so many samples, drawn at random, choose window and temperature."""
READ_CELLS = 200_000
"""At most so many probabilities are read for that, but no fewer than 1,000 samples."""
STEPS = 10
"""Steps of expectation and maximisation for each candidate."""
FIRST_RATE = 0.2
"""Share of flipped labels that the first step begins with."""
DENSE = 1000
"""With more classes flips are taken to go to all others alike, so that no matrix over pairs of classes is formed."""


@dataclass(frozen=True)
class Window:
    """Epochs whose predictions are averaged, and the temperature that the average is given.

    Attributes:
        start: First epoch, from 0.
        stop: The epoch behind the last one.
        temperature: Below 1 predictions are sharpened, above 1 they are flattened.
        likelihood: Mean logarithm of the probability of a given label, in nats.
    """

    start: int
    stop: int
    temperature: float
    likelihood: float


def choose_window(by_epoch: np.ndarray, labels: np.ndarray) -> Window:
    """Chooses the epochs and the temperature under which the given labels are likeliest.

    Candidates begin and end at a quarter of all epochs; the last epoch alone is one, too.

    Args:
        by_epoch: Predictions of samples that the models have not seen, shape (epochs, n, K).
        labels: Given labels, shape (n,).

    Returns:
        The window.
    """
    epochs, size, classes = by_epoch.shape
    cuts = sorted({round(part * epochs / PARTS) for part in range(PARTS + 1)})
    read = drawn(size, classes)
    windows = []
    for start, stop in sorted({*combinations(cuts, 2), (epochs - 1, epochs)}):
        mean = by_epoch[start:stop, read].mean(axis=0, dtype=np.float64)
        windows.append(Window(start, stop, *choose_temperature(mean, labels[read])))
    best = max(windows, key=lambda window: window.likelihood)
    logger.info(
        "epochs %d to %d of %d at temperature %.2f make the given labels likeliest: %.4f nats",
        best.start + 1,
        best.stop,
        epochs,
        best.temperature,
        best.likelihood,
    )
    return best


def choose_temperature(probabilities: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Chooses the temperature under which the given labels are likeliest.

    Args:
        probabilities: Predictions of samples that the models have not seen, shape (n, K).
        labels: Given labels, shape (n,).

    Returns:
        The temperature, 1 for fewer than 200 samples, and the mean logarithm of the probability of a given label, in nats.
    """
    read = drawn(*probabilities.shape)
    read = read[np.argsort(labels[read], kind="stable")]
    logs, given = np.log(np.maximum(probabilities[read], SMALLEST, dtype=np.float64)), labels[read]

    def unlikeliness(logarithm: float) -> float:
        return -_likelihood(_smoothed(logs / np.exp(logarithm)), given)

    if len(read) < FEWEST:
        return 1.0, -unlikeliness(0.0)
    best = minimize_scalar(
        unlikeliness, bounds=(np.log(SHARPEST), np.log(FLATTEST)), method="bounded", options={"xatol": 0.02}
    )
    return float(np.exp(best.x)), -float(best.fun)


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """``0.999 softmax(log p / temperature) + 0.001 / K``.

    Args:
        probabilities: Shape (n, K).
        temperature: Below 1 sharpens, above 1 flattens.

    Returns:
        Shape (n, K), float64; rows sum to one.
    """
    return _smoothed(np.log(np.maximum(probabilities, SMALLEST, dtype=np.float64)) / temperature)


def drawn(size: int, classes: int) -> np.ndarray:
    """The samples by which window and temperature are chosen.

    Args:
        size: Number of samples n.
        classes: Number of classes K.

    Returns:
        Positions in order, all or as many as need to be read; the same ones in every call.
    """
    most = min(READ, max(1000, READ_CELLS // classes))
    return np.arange(size) if size <= most else np.sort(np.random.default_rng(0).choice(size, most, replace=False))


def _smoothed(logs: np.ndarray) -> np.ndarray:
    return (1 - UNSURE) * softmax(logs, axis=1) + UNSURE / logs.shape[1]


def _likelihood(belief: np.ndarray, labels: np.ndarray) -> float:
    """Mean log-likelihood of labels, which rise, under flips that are fitted to them by expectation and maximisation.

    Rates and patterns are drawn towards the mean rate by ten samples, and towards even flips by two.
    """
    size, classes = belief.shape
    given = np.arange(size), labels
    values, starts = np.unique(labels, return_index=True)
    rates, pattern = np.full(classes, FIRST_RATE), np.full((1, 1), 1 / (classes - 1))
    likelihood = 0.0
    for _ in range(STEPS + 1):
        off = rates[:, None] * pattern
        joint = belief * (off.T[labels] if off.shape[1] > 1 else off.T)
        joint[given] = belief[given] * (1 - rates[labels])
        total = joint.sum(axis=1, keepdims=True)
        likelihood = float(np.log(total).mean())
        joint /= total
        members = joint.sum(axis=0)
        joint[given] = 0.0
        flipped = joint.sum(axis=0)
        rates = (flipped + 10 * flipped.sum() / size) / (members + 10)
        if classes <= DENSE:
            counts = np.zeros((classes, classes))
            counts[:, values] = np.add.reduceat(joint, starts, axis=0).T
            pattern = (counts + 2 / (classes - 1)) / (flipped[:, None] + 2)
    return likelihood
