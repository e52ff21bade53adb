"""Baselines that every user will ask about: plain loss, and cleanlab's three scores on the *given* labels.

The reference code of OGA handed *predicted* labels to the three scores, which blinds them to wrong labels. Formulas from
Northcutt, Jiang and Chuang, Confident Learning, JAIR 2021, and cleanlab's documentation.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradsift.detectors.base import Detector, given_labels
from gradsift.errors import DataError

TINY = 1e-12


class Loss(Detector):
    """``score_samples = -loss``."""

    reads = "losses"
    comparable = False

    def score_samples(self, X: Any, y: Any = None) -> np.ndarray:  # noqa: N803
        """Negative losses.

        Args:
            X: Losses, shape (n,) or (n, 1).
            y: Ignored.

        Returns:
            Shape (n,); high = normal.

        Raises:
            DataError: Losses are not one finite number a sample.
        """
        losses = np.asarray(X, dtype=np.float64)
        if losses.size != len(losses) or not losses.size or not np.isfinite(losses).all():
            raise DataError(f"losses must be one finite number a sample, got shape {losses.shape}")
        return -losses.reshape(-1)


class SelfConfidence(Detector):
    """``score_samples = p_y``, the predicted probability of the given label."""

    reads = "predictions"

    def score_samples(self, X: Any, y: Any = None) -> np.ndarray:  # noqa: N803
        """Probabilities of the given labels.

        Args:
            X: Predicted probabilities, shape (n, K).
            y: Given labels, shape (n,).

        Returns:
            Shape (n,), in [0, 1]; high = normal.
        """
        probabilities, labels = _checked(X, y, "self_confidence")
        return probabilities[np.arange(len(labels)), labels]


class NormalizedMargin(Detector):
    """``score_samples = (p_y - max_{k != y} p_k + 1) / 2``."""

    reads = "predictions"

    def score_samples(self, X: Any, y: Any = None) -> np.ndarray:  # noqa: N803
        """Margins of the given labels.

        Args:
            X: Predicted probabilities, shape (n, K).
            y: Given labels, shape (n,).

        Returns:
            Shape (n,), in [0, 1]; high = normal.
        """
        probabilities, labels = _checked(X, y, "normalized_margin")
        rows = np.arange(len(labels))
        others = probabilities.copy()
        others[rows, labels] = -np.inf
        return (probabilities[rows, labels] - others.max(axis=1) + 1) / 2


class ConfidenceWeightedEntropy(Detector):
    """``score_samples = -(H(p) / log K) / p_y``: cleanlab's order of samples, without its final rescaling."""

    reads = "predictions"

    def score_samples(self, X: Any, y: Any = None) -> np.ndarray:  # noqa: N803
        """Negative normalised entropy over self-confidence.

        Args:
            X: Predicted probabilities, shape (n, K).
            y: Given labels, shape (n,).

        Returns:
            Shape (n,), at most 0; high = normal.
        """
        probabilities, labels = _checked(X, y, "confidence_weighted_entropy")
        entropy = -(probabilities * np.log(np.clip(probabilities, TINY, None))).sum(axis=1)
        confidence = probabilities[np.arange(len(labels)), labels]
        return -entropy / np.log(probabilities.shape[1]) / np.clip(confidence, TINY, None)


def _checked(predictions: Any, y: Any, detector: str) -> tuple[np.ndarray, np.ndarray]:
    probabilities = np.asarray(predictions, dtype=np.float64)
    if probabilities.ndim != 2 or probabilities.shape[1] < 2 or not len(probabilities):
        raise DataError(f"{detector} needs class probabilities of shape (n, K) with K >= 2, got {probabilities.shape}")
    if not np.isfinite(probabilities).all() or probabilities.min() < 0 or probabilities.max() > 1 + 1e-6:
        raise DataError(
            f"{detector} needs probabilities between 0 and 1, given {probabilities.min()} to {probabilities.max()}"
        )
    labels = given_labels(y, len(probabilities), detector)
    if labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise DataError(f"{detector}: labels outside 0 ... {probabilities.shape[1] - 1}")
    return probabilities, labels
