"""A detector fitted on each given class on its own."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import clone

from gradsift.detectors.base import Detector, given_labels
from gradsift.store import as_gradient_matrix


class PerClass(Detector):
    """One clone of a detector for every given class.

    Scores of detectors without a common scale (norms) are turned into robust z-scores within their class,
    ``(s - median) / (1.4826 MAD)``, so that classes can be ranked together.

    Args:
        detector: The detector to clone; it must read gradients.
    """

    of_kind = "class"

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.norms, self.rows = detector.norms, detector.rows  # type: ignore[misc]  # what it reads is its detector's

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Fits a clone on each class.

        Args:
            X: Gradients, shape (n, p).
            y: Given labels, shape (n,).

        Returns:
            The detector itself.
        """
        matrix = as_gradient_matrix(X)
        labels = given_labels(y, len(matrix), "a detector per class")
        self.detectors_: dict[int, Detector] = {}
        self.scales_: dict[int, tuple[float, float]] = {}
        for label in np.unique(labels):
            part = matrix.subset(np.flatnonzero(labels == label))
            fitted = clone(self.detector).fit(part)
            self.detectors_[int(label)], self.scales_[int(label)] = fitted, (0.0, 1.0)
            if not self.detector.comparable:
                scores = fitted.score_samples(part)
                median = float(np.median(scores))
                spread = 1.4826 * float(np.median(np.abs(scores - median))) or float(scores.std()) or 1.0
                self.scales_[int(label)] = (median, spread)
        return self

    def score_samples(self, X: Any, y: Any = None) -> np.ndarray:  # noqa: N803
        """Scores of each sample under the detector of its class.

        Args:
            X: Gradients, shape (n, p).
            y: Given labels, shape (n,); a class that was not fitted scores as the most normal.

        Returns:
            Shape (n,); high = normal.
        """
        matrix = as_gradient_matrix(X)
        labels = given_labels(y, len(matrix), "a detector per class")
        scores = np.full(len(matrix), np.nan)
        for label, fitted in self.detectors_.items():
            members = np.flatnonzero(labels == label)
            if len(members):
                median, spread = self.scales_[label]
                scores[members] = (fitted.score_samples(matrix.subset(members)) - median) / spread
        return np.where(np.isnan(scores), np.nanmax(scores, initial=0.0), scores)
