"""Baselines that every user will ask about: plain loss, and cleanlab's three scores on the *given* labels.

The reference code of OGA handed *predicted* labels to the three scores, which blinds them to wrong labels. Formulas from
Northcutt, Jiang and Chuang, Confident Learning, JAIR 2021, and cleanlab's documentation.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from gradsift.detectors.base import Detector, given_labels
from gradsift.errors import DataError
from gradsift.scratch import empty
from gradsift.store import ArrayMatrix

TINY = 1e-12


class Loss(Detector):
    """``score_samples = -loss``."""

    reads = ("losses",)
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
        return np.negative(losses.reshape(-1), out=empty(len(losses)))


class LabelQuality(Detector):
    """Shared part of cleanlab's scores: predictions are read in pieces, and labels are checked."""

    reads = ("predictions",)
    of_kind = "class"

    def score_samples(self, X: Any, y: Any = None) -> np.ndarray:  # noqa: N803
        """Quality of the given labels.

        Args:
            X: Predicted probabilities, shape (n, K).
            y: Given labels, shape (n,).

        Returns:
            Shape (n,); high = normal.

        Raises:
            DataError: These are no probabilities of two or more classes, or labels are outside of the classes.
        """
        matrix = X if isinstance(X, ArrayMatrix) else ArrayMatrix(_two_axes(X))
        name = type(self).__name__
        if matrix.shape[1] < 2 or not len(matrix):
            raise DataError(f"{name} needs class probabilities of shape (n, K) with K >= 2, got {matrix.shape}")
        labels = given_labels(y, len(matrix), name)
        if labels.min() < 0 or labels.max() >= matrix.shape[1]:
            raise DataError(f"{name}: labels outside 0 ... {matrix.shape[1] - 1}")
        scores = empty(len(matrix))
        for start, rows in matrix.chunks():
            if not (np.isfinite(rows).all() and rows.min() >= 0 and rows.max() <= 1 + 1e-6):
                raise DataError(f"{name} needs probabilities between 0 and 1, given {rows.min()} to {rows.max()}")
            piece = slice(start, start + len(rows))
            scores[piece] = self.quality(rows.astype(np.float64), labels[piece])
        return scores

    @abstractmethod
    def quality(self, probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The score itself.

        Args:
            probabilities: Shape (m, K).
            labels: Shape (m,).

        Returns:
            Shape (m,); high = normal.
        """


class SelfConfidence(LabelQuality):
    """``score_samples = p_y``, the predicted probability of the given label."""

    def quality(self, probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Probabilities of the given labels."""
        return probabilities[np.arange(len(labels)), labels]


class NormalizedMargin(LabelQuality):
    """``score_samples = (p_y - max_{k != y} p_k + 1) / 2``."""

    def quality(self, probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Margins of the given labels, in [0, 1]."""
        rows = np.arange(len(labels))
        others = probabilities.copy()
        others[rows, labels] = -np.inf
        return (probabilities[rows, labels] - others.max(axis=1) + 1) / 2


class ConfidenceWeightedEntropy(LabelQuality):
    """``score_samples = -(H(p) / log K) / p_y``: cleanlab's order of samples, without its final rescaling."""

    def quality(self, probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Negative normalised entropy over self-confidence, at most 0."""
        entropy = -(probabilities * np.log(np.clip(probabilities, TINY, None))).sum(axis=1)
        confidence = probabilities[np.arange(len(labels)), labels]
        return -entropy / np.log(probabilities.shape[1]) / np.clip(confidence, TINY, None)


def _two_axes(predictions: Any) -> np.ndarray:
    array = np.asarray(predictions)
    if array.ndim != 2:
        raise DataError(f"class probabilities must be of shape (n, K), got {array.shape}")
    return array
