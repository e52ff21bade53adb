"""Which classes' labels are flipped more often than others', and how far predictions lean towards the rest for it.

If labels of some classes are flipped more often than those of others, a model that learns from them predicts these classes
too rarely, also for samples that it has not seen. The likelihood of the given labels tells both: how often the labels of
each class are flipped, and by which factor the class is believed in too little. It reads no true label.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, softmax

from gradsift.detectors.flip_pattern import FlipPattern
from gradsift.evidence.calibration import FEWEST, SMALLEST

HIGHEST = 0.6
"""Largest rate of flips of a class."""
LEAN_PRIOR = 20.0
"""Precision of the prior of a class's factor, a normal distribution of its logarithm around 0."""
RATE_PRIOR = 10.0
"""The same of the log-odds of its rate, around the mean."""
FAINT = 0.1
"""A lower power of predictions says that they tell next to nothing of labels, and so nothing of classes."""
TRUST = 2
"""Power of the share of the flips that such rates explain: where flips depend on the sample, less is believed."""


@dataclass(frozen=True)
class ClassRates:
    """How classes differ.

    Attributes:
        lean: Logarithms of the factors by which classes are believed in too little, shape (K,); their mean is 0.
        relative: Rate of flips of each class over the mean rate, shape (K,).
        sharpness: Power that odds of a wrong label are given.
    """

    lean: np.ndarray
    relative: np.ndarray
    sharpness: float


def fit_class_rates(
    belief: np.ndarray, labels: np.ndarray, pattern: FlipPattern, rate: float, sharpness: float
) -> ClassRates | None:
    """Fits power, factors and rates of classes by the likelihood of the given labels.

    ``mean_i log( p_iy (1 - f_y) + sum_{k != y} p_ik f_k W[k, y] )`` with ``p_i = softmax(a log q_i + b)`` is maximised over
    a, b and the rates f. Of what is found, the share ``t = min(1, mean f / rate) ** 2`` is believed, in logarithms.

    Args:
        belief: Beliefs of which no given label is part, about the samples that are read, shape (m, K).
        labels: Their given labels, shape (m,).
        pattern: Where flipped labels go, W.
        rate: Share of the surest samples whose labels are flipped, above 0.
        sharpness: Power of the odds of a wrong label that is known without this.

    Returns:
        How classes differ; ``None`` for fewer than 200 samples, or predictions that tell labels hardly better than chance.
    """
    if len(labels) < FEWEST:
        return None
    logs = np.log(np.maximum(belief, SMALLEST))
    power, lean, rates = _likeliest(logs, labels, pattern.into(labels))
    if power < FAINT:
        return None
    trust = min(1.0, float(softmax(power * logs + lean, axis=1).mean(axis=0) @ rates) / rate) ** TRUST
    lean = trust * lean / power
    relative = rates / (softmax(logs + lean, axis=1).mean(axis=0) @ rates)
    return ClassRates(lean, relative**trust, sharpness * (power / sharpness) ** trust)


def _likeliest(logs: np.ndarray, labels: np.ndarray, flipped: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Power a, shape (), logarithms b of the factors and rates f, shape (K,), under which the labels are likeliest.

    Args:
        logs: ``log q``, shape (m, K).
        labels: Given labels y, shape (m,).
        flipped: ``W[k, y_i]`` at row i and column k, shape (m, K).
    """
    size, classes = logs.shape
    at_label, own = (np.arange(size), labels), np.zeros((size, classes), dtype=bool)
    own[at_label] = True

    def unlikeliness(values: np.ndarray) -> tuple[float, np.ndarray]:
        power, lean, mean, differences = _unpacked(values, classes)
        ratio = expit(mean + differences)
        rates = HIGHEST * ratio
        predicted = softmax(power * logs + lean, axis=1)
        joint = predicted * np.where(own, 1 - rates, flipped * rates)
        total = joint.sum(axis=1, keepdims=True)
        joint /= total
        residual, kept = joint - predicted, joint.sum(axis=0, where=own)
        by_ratio = ((joint.sum(axis=0) - kept) / rates - kept / (1 - rates)) * rates * (1 - ratio)
        centred = lean - lean.mean()
        penalty = LEAN_PRIOR * (centred**2).sum() + RATE_PRIOR * (differences**2).sum()
        slopes = [
            [power * (residual * logs).sum()], residual.sum(axis=0) - LEAN_PRIOR * centred,
            [by_ratio.sum()], by_ratio - RATE_PRIOR * differences,
        ]  # fmt: skip
        return (penalty / 2 - float(np.log(total).sum())) / size, -np.concatenate(slopes) / size

    start = np.zeros(2 * classes + 2)
    start[classes + 1] = -1.0
    found = minimize(unlikeliness, start, jac=True, method="L-BFGS-B", options={"maxiter": 100})
    power, lean, mean, differences = _unpacked(found.x, classes)
    return power, lean - lean.mean(), HIGHEST * expit(mean + differences)


def _unpacked(values: np.ndarray, classes: int) -> tuple[float, np.ndarray, float, np.ndarray]:
    """Power, logarithms of factors, mean log-odds of rates and differences from it."""
    return float(np.exp(values[0])), values[1 : classes + 1], float(values[classes + 1]), values[classes + 2 :]
