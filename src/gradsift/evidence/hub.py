"""Evidence: what is known of each sample, and where it comes from.

Detectors read evidence and nothing else. They know neither the model nor the framework that it was collected with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gradsift.errors import DataError
from gradsift.store import ArrayMatrix, GradientMatrix
from gradsift.tasks import Kind

if TYPE_CHECKING:
    from gradsift.evidence.responses import ResponseEvidence
    from gradsift.evidence.tokens import TokenEvidence
    from gradsift.evidence.worst_parts import WorstParts
    from gradsift.trajectory import Trajectory

Provenance = Literal["in-sample", "out-of-fold", "along training", "unknown"]
"""Where a field comes from: a model that was trained on the sample with its label (``in-sample``), one that has not seen it
(``out-of-fold``), the mean over a training (``along training``), or the user did not say (``unknown``)."""

FIELDS = (
    "predictions",
    "features",
    "inputs",
    "labels",
    "losses",
    "gradients",
    "trajectory",
    "tokens",
    "responses",
    "worst_parts",
    "early_predictions",
)
"""What a detector may declare that it reads."""


@dataclass(frozen=True)
class Evidence:
    """What is known of n samples, by position; matrices are read in pieces.

    Example:
        >>> import numpy as np
        >>> evidence = Evidence(np.array([[0.9, 0.1], [0.2, 0.8]]), labels=np.array([0, 0]))
        >>> len(evidence), sorted(evidence.known)
        (2, ['labels', 'predictions'])

    Attributes:
        predictions: Predicted probabilities (or values), shape (n, K).
        features: Inputs of the last layer, or other features by which neighbours are found, shape (n, D).
        inputs: What goes into the model, where that is a table of numbers, shape (n, D).
        labels: Given labels, shape (n,) class numbers, or (n, K) for several labels.
        losses: Loss of each sample, shape (n,).
        gradients: Per-sample gradients, shape (n, p), with their exact norms.
        trajectory: Statistics along training.
        tokens: What is known of the samples' tokens, where each token has a class.
        responses: What is known of the responses of chats.
        worst_parts: How badly the worst part of each mask, set of boxes or transcript fits.
        kind: What labels are; ``None`` where there are none.
        folds: The fold that held each sample out, shape (n,), where predictions are out of fold.
        early_predictions: Predictions of models that learn from the sample, mean over the first half of their epochs, shape
            (n, K), where ``predictions`` are out of fold and the training told of its epochs.
        by_epoch: Predictions after every epoch, shape (epochs, n, K), where a training gave them.
        provenance: Field to where it comes from; ``"unknown"`` where it is not named.
        class_names: Names of the classes.
        data_fingerprint: Fingerprint of the data set that it is of, where it was at hand.
        neighbourhood: Every sample's nearest neighbours by the features, where they were searched beforehand.
        of_heads: Whether predictions are those of heads on these features, so that others can be made of fewer labels.

    Raises:
        DataError: A field has another number of rows than the others.
    """

    predictions: Any = None
    features: Any = None
    labels: np.ndarray | None = None
    losses: np.ndarray | None = None
    gradients: Any = None
    trajectory: Trajectory | None = None
    kind: Kind | None = None
    folds: np.ndarray | None = None
    by_epoch: np.ndarray | None = None
    provenance: Mapping[str, Provenance] = field(default_factory=dict)
    class_names: Sequence[str] | None = None
    data_fingerprint: str | None = None
    inputs: Any = None
    tokens: TokenEvidence | None = None
    responses: ResponseEvidence | None = None
    neighbourhood: Any = None
    worst_parts: WorstParts | None = None
    early_predictions: Any = None
    of_heads: bool = False

    def __post_init__(self) -> None:
        """Makes matrices of arrays, and checks that every field is of the same samples."""
        for name in ("predictions", "features", "inputs", "gradients", "early_predictions"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, GradientMatrix):
                object.__setattr__(self, name, ArrayMatrix(np.asarray(value)))
        for name, rows in self._rows().items():
            if rows != len(self):
                raise DataError(
                    f"{rows} rows of {name} for {len(self)} samples: give one row a sample, all in the same order"
                )

    def __len__(self) -> int:
        """Number of samples n."""
        return next(iter(self._rows().values()), 0)

    def _rows(self) -> dict[str, int]:
        """Rows of every field that is there."""
        fields = {name: getattr(self, name) for name in ("labels", *FIELDS, "folds")}
        return {
            name: value.size if name == "trajectory" else len(value)
            for name, value in fields.items()
            if value is not None
        }

    @property
    def known(self) -> frozenset[str]:
        """Names of the fields that are there."""
        return frozenset(name for name in FIELDS if getattr(self, name) is not None)

    def refuse_other_size(self, size: int) -> None:
        """Refuses a data set of another size.

        Args:
            size: Its number of samples.

        Raises:
            DataError: The evidence is of another number of samples.
        """
        if size != len(self):
            raise DataError(
                f"the data set has {size} samples, the evidence {len(self)}: pass the data set that the evidence is of"
            )

    def digest(self) -> str:
        """SHA-256 of labels, losses, predictions and features, in hexadecimal."""
        digest = hashlib.sha256()
        for name in ("labels", "losses"):
            value = getattr(self, name)
            digest.update(name.encode() + (b"" if value is None else np.ascontiguousarray(value).tobytes()))
        for matrix, mark in ((self.predictions, b""), (self.features, b""), (self.early_predictions, b"early")):
            for _, rows in matrix.chunks() if matrix is not None else ():
                digest.update(mark + np.ascontiguousarray(rows).tobytes())
        return digest.hexdigest()

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
        provenance = {**self.provenance, **dict(values.pop("provenance", {}))}  # type: ignore[call-overload]  # a mapping, where it is given
        return replace(self, provenance=provenance, **values)  # type: ignore[arg-type]  # checked by the class


def last_layer_residual(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Gradient of softmax cross-entropy with respect to the logits, ``p - e_y``.

    With the inputs h of the last layer, the gradient of its weight is ``(p - e_y) h^T``.

    Args:
        labels: Class numbers, shape (n,).
        predictions: Probabilities p, shape (n, K).

    Returns:
        Shape (n, K), float32.
    """
    residual = np.array(predictions, dtype=np.float32)
    residual[np.arange(len(labels)), labels] -= 1
    return residual
