"""Which class a sample looks like to a generative model: the probabilities that its losses under every class give."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from gradsift.evidence.calibration import choose_temperature, drawn, tempered

SCALES = (0.1, 1.0, 10.0)
"""Differences of losses are divided by these multiples of the median one, before a temperature is chosen."""


def condition_probabilities(losses: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """``softmax(-losses / t)``, with the t under which the given labels are likeliest.

    A loss of noise is a bound on the negative log-likelihood up to a factor that training leaves out, and the draws are a
    sample of all noise, so the labels say how far its differences are believed.

    Args:
        losses: Loss of each sample under every class, shape (n, K).
        labels: Given classes, shape (n,).

    Returns:
        Shape (n, K), float64; rows sum to one.
    """
    least = np.partition(losses.astype(np.float64), 1, axis=1)[:, :2]
    usual = float(np.median(least[:, 1] - least[:, 0])) or 1.0
    read = drawn(*losses.shape)
    best = (-np.inf, np.zeros(0), 1.0)
    for scale in SCALES:
        probabilities = softmax((least[:, :1] - losses) / (scale * usual), axis=1)
        temperature, likelihood = choose_temperature(probabilities[read], labels[read])
        best = max(best, (likelihood, probabilities, temperature), key=lambda tried: tried[0])
    return tempered(best[1], best[2])
