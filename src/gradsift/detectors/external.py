"""Any detector of scikit-learn or PyOD, by import path."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import clone

from gradsift.detectors.base import Detector
from gradsift.errors import SettingError
from gradsift.imports import import_function, user_code
from gradsift.store import as_gradient_matrix

FIT_BYTES = 256 * 2**20
"""Most bytes of rows that an external detector is fitted on."""


class External(Detector):
    """An outlier detector of another library over rows of the gradient matrix.

    It is fitted on a random part of the rows, as such libraries hold their data whole, and scores all rows in pieces.

    Args:
        estimator: An estimator with ``fit`` and ``score_samples`` (scikit-learn, high = normal), or with
            ``decision_function`` after a fit that sets ``decision_scores_`` (PyOD, high = outlier).
        max_fit_rows: Most rows to fit on; fewer where they would weigh more than 256 MiB.
        random_state: Seed of their choice.
    """

    rows = True

    def __init__(self, estimator: Any, *, max_fit_rows: int = 10_000, random_state: int = 0) -> None:
        self.estimator, self.max_fit_rows, self.random_state = estimator, max_fit_rows, random_state

    @classmethod
    def at(cls, path: str, *, random_state: int = 0) -> External:
        """Imports a detector class and makes one with its defaults.

        Args:
            path: ``module:Class``, such as ``sklearn.neighbors:LocalOutlierFactor`` or ``pyod.models.ecod:ECOD``.
            random_state: Seed, handed on where the class takes one.

        Returns:
            The wrapped detector.

        Raises:
            SettingError: There is no such class, or it cannot be made without arguments.
        """
        make = import_function(path, "detector")
        with user_code(f"detector {path!r} cannot be made"):
            estimator = make()
        parameters = estimator.get_params() if hasattr(estimator, "get_params") else {}
        if "novelty" in parameters:  # LocalOutlierFactor scores rows other than its own only in this mode
            estimator.set_params(novelty=True)
        if "random_state" in parameters:
            estimator.set_params(random_state=random_state)
        return cls(estimator, random_state=random_state)

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Fits a clone of the estimator on at most ``max_fit_rows`` rows.

        Args:
            X: Gradients, shape (n, p).
            y: Ignored.

        Returns:
            The detector itself.
        """
        matrix, generator = as_gradient_matrix(X), np.random.default_rng(self.random_state)
        positions = np.arange(len(matrix))
        most = max(2, min(self.max_fit_rows, FIT_BYTES // (4 * matrix.shape[1])))
        if len(matrix) > most:
            positions = np.sort(generator.choice(len(matrix), most, replace=False))
        self.estimator_ = clone(self.estimator).fit(matrix.rows(positions))
        return self

    def score_samples(self, X: Any, y: Any = None) -> np.ndarray:  # noqa: N803
        """Scores of the wrapped estimator, with the sign turned where it is PyOD's.

        Args:
            X: Gradients, shape (n, p).
            y: Ignored.

        Returns:
            Shape (n,); high = normal.

        Raises:
            SettingError: The estimator has neither library's scoring method.
        """
        fitted = self.estimator_
        if hasattr(fitted, "decision_scores_"):
            return np.concatenate([-fitted.decision_function(rows) for _, rows in as_gradient_matrix(X).chunks()])
        if hasattr(fitted, "score_samples"):
            return np.concatenate([fitted.score_samples(rows) for _, rows in as_gradient_matrix(X).chunks()])
        raise SettingError(
            f"{type(fitted).__name__} has neither score_samples (scikit-learn) nor decision_scores_ (PyOD) after fit"
        )
