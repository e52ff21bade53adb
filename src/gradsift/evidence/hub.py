"""Evidence: what is known of each sample, and where it comes from.

Detectors read evidence and nothing else. They know neither the model nor the framework that it was collected with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Literal

import numpy as np

from gradsift.errors import DataError
from gradsift.store import FactoredMatrix, GradientMatrix

if TYPE_CHECKING:
    from gradsift.trajectory import Trajectory

Provenance = Literal["in-sample", "out-of-fold", "along training", "unknown"]
"""Where a field comes from: a model that was trained on the sample with its label (``in-sample``), one that has not seen it
(``out-of-fold``), the mean over a training (``along training``), or the user did not say (``unknown``)."""

FIELDS = ("labels", "predictions", "features", "losses", "gradients", "trajectory")
"""What a detector may declare that it reads."""


@dataclass(frozen=True)
class Evidence:
    """What is known of n samples, by position; matrices are read in pieces.

    Example:
        >>> import numpy as np
        >>> from gradsift.store import ArrayMatrix
        >>> predictions = ArrayMatrix(np.array([[0.9, 0.1], [0.2, 0.8]]))
        >>> evidence = Evidence(2, labels=np.array([0, 0]), predictions=predictions)
        >>> sorted(evidence.known)
        ['labels', 'predictions']

    Attributes:
        size: Number of samples n.
        labels: Given labels, shape (n,) class numbers, or (n, K) for several labels.
        predictions: Predicted probabilities (or values), shape (n, K).
        features: Inputs of the last layer, or other features by which neighbours are found, shape (n, D).
        losses: Loss of each sample, shape (n,).
        gradients: Per-sample gradients, shape (n, p), with their exact norms.
        trajectory: Statistics along training.
        folds: The fold that held each sample out, shape (n,), where predictions are out of fold.
        by_epoch: Predictions after every epoch, shape (epochs, n, K), where a training gave them.
        provenance: Field to where it comes from; ``"unknown"`` where it is not named.
        class_names: Names of the classes.

    Raises:
        DataError: A field has another number of rows than ``size``.
    """

    size: int
    labels: np.ndarray | None = None
    predictions: GradientMatrix | None = None
    features: GradientMatrix | None = None
    losses: np.ndarray | None = None
    gradients: GradientMatrix | None = None
    trajectory: Trajectory | None = None
    folds: np.ndarray | None = None
    by_epoch: np.ndarray | None = None
    provenance: Mapping[str, Provenance] = field(default_factory=dict)
    class_names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        """Checks that every field is of the same samples."""
        for name in (*FIELDS, "folds"):
            value = getattr(self, name)
            rows = self.size if value is None else value.size if name == "trajectory" else len(value)
            if rows != self.size:
                raise DataError(f"{name} has {rows} rows for {self.size} samples: give one row a sample, in one order")

    def __len__(self) -> int:
        """Number of samples n."""
        return self.size

    @property
    def known(self) -> frozenset[str]:
        """Names of the fields that are there."""
        return frozenset(name for name in FIELDS if getattr(self, name) is not None)

    def comes_from(self, name: str) -> Provenance:
        """Where a field comes from.

        Args:
            name: One of :data:`FIELDS`.

        Returns:
            Its provenance.
        """
        return self.provenance.get(name, "unknown")

    def with_(self, **values: object) -> Evidence:
        """The same evidence with some fields added or replaced.

        Args:
            **values: Fields by name; ``provenance`` is merged.

        Returns:
            New evidence.
        """
        merged = {one.name: getattr(self, one.name) for one in fields(self)} | values
        merged["provenance"] = {**self.provenance, **dict(values.get("provenance", {}))}  # type: ignore[call-overload]
        return Evidence(**merged)


def last_layer_gradients(
    labels: np.ndarray, predictions: np.ndarray, features: np.ndarray
) -> tuple[FactoredMatrix, np.ndarray]:
    """Gradients of softmax cross-entropy with respect to the last layer's weight, ``(p - e_y) h^T``, in factors.

    Args:
        labels: Class numbers, shape (n,).
        predictions: Probabilities p, shape (n, K).
        features: Inputs h of the last layer, shape (n, D).

    Returns:
        The gradients, shape (n, K D), and the residual p - e_y, shape (n, K).
    """
    residual = np.array(predictions, dtype=np.float32)
    residual[np.arange(len(labels)), labels] -= 1
    return FactoredMatrix(residual, features), residual
