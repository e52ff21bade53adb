"""What a detector is: a scikit-learn estimator that says how normal a sample is."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator

from gradsift.errors import SettingError
from gradsift.evidence import Evidence
from gradsift.tasks import Kind


class Detector(BaseEstimator):
    """Base of all detectors: keyword-only parameters, ``fit`` returns self, learned state ends in ``_``.

    ``score_samples`` has scikit-learn's sign: high = normal. The table's score is its negative, and
    :func:`~gradsift.detectors.scores.detrimental_scores` is the one place that turns it. How many samples are flagged is
    the audit's decision, so no detector has a contamination.
    """

    reads: ClassVar[tuple[str, ...]] = ("gradients",)
    """Fields of :class:`~gradsift.evidence.Evidence` that are read: the first is needed, others are read where they are
    known. ``X`` is the field where there is one, and the evidence where there are several."""

    of_kind: ClassVar[Kind | None] = None
    """What labels must be: a :data:`~gradsift.tasks.Kind`; ``None`` where any will do."""

    @property
    def of_classes(self) -> bool:
        """Whether it needs one class label a sample."""
        return self.of_kind == "class"

    norms: ClassVar[tuple[int, ...]] = ()
    """Orders of the exact gradient norms that are read."""

    rows: ClassVar[bool] = False
    """Whether rows of the gradient matrix (factors or projections) are read."""

    cut: ClassVar[float | None] = None
    """The score from which on a sample is flagged where no share is given: one half for a probability that is as often
    right as it says; ``None`` where how many are flagged is told otherwise."""

    comparable: ClassVar[bool] = True
    """Whether scores of two fits, for example on two classes, are on one scale."""

    def observed(self, evidence: Evidence) -> Any:
        """What ``X`` is for some evidence.

        Args:
            evidence: The evidence; it holds the first field of :attr:`reads`.

        Returns:
            The field, or the evidence where several fields are read.
        """
        return getattr(evidence, self.reads[0]) if len(self.reads) == 1 else evidence

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Learns what normal is; the default learns nothing.

        Args:
            X: What the detector reads, one row a sample.
            y: Given labels, shape (n,).

        Returns:
            The detector itself.
        """
        return self

    @abstractmethod
    def score_samples(self, X: Any, y: Any = None) -> np.ndarray:  # noqa: N803
        """How normal each sample is.

        Args:
            X: What the detector reads, one row a sample.
            y: Given labels, shape (n,).

        Returns:
            Shape (n,), float64; high = normal.
        """


def given_labels(y: Any, size: int, detector: str) -> np.ndarray:
    """Given labels as class numbers, checked.

    Args:
        y: What was passed as labels.
        size: Number of samples.
        detector: Name of the detector that asks, for the message.

    Returns:
        Shape (n,), int64.

    Raises:
        SettingError: There are none, or they are not one class number a sample.
    """
    if y is None:
        raise SettingError(f"{detector} needs the given labels: pass y, or use a task with class labels")
    labels = np.asarray(y)
    if labels.shape != (size,) or not np.issubdtype(labels.dtype, np.integer):
        raise SettingError(
            f"{detector} needs one class number a sample, shape ({size},), got {labels.dtype} of shape {labels.shape}"
        )
    return labels.astype(np.int64, copy=False)
