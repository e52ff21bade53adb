"""Isolation forest over gradients."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from sklearn import ensemble

from gradsift.detectors.base import Detector
from gradsift.store import as_gradient_matrix


class IsolationForest(Detector):
    """Isolation forest (Liu, Ting and Zhou, 2008), ``score_samples = -2^(-E[path length] / c(m))``, as in OGA.

    scikit-learn's forest, grown a tree at a time: each tree sees its own random ``max_samples`` rows, so only these and
    the rows that are being scored are ever formed, however many samples there are.

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
        """
        matrix, generator = as_gradient_matrix(X), np.random.default_rng(self.random_state)
        size = min(self.max_samples, len(matrix))
        self.forest_ = ensemble.IsolationForest(
            n_estimators=0, max_samples=size, random_state=self.random_state, warm_start=True
        )
        for tree in range(1, self.n_estimators + 1):
            rows = matrix.rows(np.sort(generator.choice(len(matrix), size, replace=False)))
            with warnings.catch_warnings():
                # Path lengths that scikit-learn works out on the way are of earlier trees; the last fit does all.
                warnings.simplefilter("ignore")
                self.forest_.set_params(n_estimators=tree).fit(rows)
        return self

    def score_samples(self, X: Any, y: Any = None) -> np.ndarray:  # noqa: N803
        """Negative anomaly scores.

        Args:
            X: Gradients, shape (n, p).
            y: Ignored.

        Returns:
            Shape (n,), in [-1, 0]; high = normal.
        """
        return np.concatenate([self.forest_.score_samples(rows) for _, rows in as_gradient_matrix(X).chunks()])
