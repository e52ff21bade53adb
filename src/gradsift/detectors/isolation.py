"""Isolation forest over gradients."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from gradsift.detectors.base import Detector
from gradsift.detectors.trees import average_path_length, grow
from gradsift.errors import DataError, SettingError
from gradsift.store import as_gradient_matrix


class IsolationForest(Detector):
    """Isolation forest (Liu, Ting and Zhou, 2008), ``score_samples = -2^(-E[path length] / c(m))``, as in OGA.

    The law of :class:`sklearn.ensemble.IsolationForest`, without the matrix: trees grow, and samples go down them, by the
    few coordinates that the nodes ask for. A seed gives other trees than it gives there.

    Args:
        n_estimators: Trees; the paper has 100.
        max_samples: Rows a tree sees; the paper has 256.
        random_state: Seed.
    """

    rows = True

    def __init__(self, *, n_estimators: int = 100, max_samples: int = 256, random_state: int = 0) -> None:
        self.n_estimators, self.max_samples, self.random_state = n_estimators, max_samples, random_state

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Grows the trees.

        Args:
            X: Gradients, shape (n, p).
            y: Ignored.

        Returns:
            The detector itself.

        Raises:
            SettingError: No trees, or no rows for them, are asked for.
        """
        if self.n_estimators < 1 or self.max_samples < 1:
            raise SettingError(
                f"an isolation forest needs at least one tree and one row, got n_estimators={self.n_estimators} and "
                f"max_samples={self.max_samples}"
            )
        matrix = as_gradient_matrix(X)
        self.n_features_in_, self.max_samples_ = matrix.shape[1], min(self.max_samples, len(matrix))
        generator = np.random.default_rng(self.random_state)
        self.forest_ = grow(matrix, self.n_estimators, self.max_samples_, generator)
        return self

    def score_samples(self, X: Any, y: Any = None) -> np.ndarray:  # noqa: N803
        """Negative anomaly scores.

        Args:
            X: Gradients, shape (n, p).
            y: Ignored.

        Returns:
            Shape (n,), in [-1, 0]; high = normal. All are -0.5 if the trees saw a single row.

        Raises:
            DataError: The gradients have other columns than those that the trees were grown on.
        """
        matrix = as_gradient_matrix(X)
        if matrix.shape[1] != self.n_features_in_:
            raise DataError(
                f"the forest was fitted on gradients of {self.n_features_in_} numbers, got {matrix.shape[1]}: fit it on "
                "gradients of the same parameters"
            )
        usual = len(self.forest_.roots) * float(average_path_length(np.array(self.max_samples_)))
        lengths = self.forest_.path_lengths(matrix)
        if not usual:
            return np.full(len(matrix), -0.5)
        np.divide(lengths, -usual, out=lengths)
        np.power(2.0, lengths, out=lengths)
        return np.negative(lengths, out=lengths)
