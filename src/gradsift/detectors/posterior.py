"""The probability that a given label is wrong, from what the model thinks of the sample and of its neighbours.

Labels are flipped from the true class k to the given class y with probability T[k, y]. With the model's distribution q
over the true class, Bayes' rule gives ``P(wrong | x, y) = 1 - q_y T[y, y] / sum_k q_k T[k, y]``. T is not known; how flips
are spread over classes is read from the samples of which the model is surest (the noise transition of Natarajan et al.
2013 and Patrini et al. 2017, estimated without clean labels).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from gradsift.detectors.base import Detector, Reads, given_labels
from gradsift.errors import DataError
from gradsift.store import ArrayMatrix, GradientMatrix

SUREST = 0.3
"""Share of the samples of a predicted class that are looked at to see where its labels go."""
STRENGTH = 0.1
"""Flips that are seen in advance, spread evenly, as a share of the samples looked at: a pattern must stand out of them, so
that classes which are merely alike are not taken for flips."""
CHUNK = 1024
"""Samples whose neighbours are searched at a time."""


@dataclass(frozen=True)
class Evidence:
    """What is known of each sample beside its given label.

    Attributes:
        predictions: Predicted probabilities of the final model, or their mean along training, shape (n, K).
        features: Inputs of the last linear layer, shape (n, D), where they were kept.
    """

    predictions: Any
    features: Any = None


class WrongLabelPosterior(Detector):
    """``score_samples = P(given label is right | x, y)``.

    The model's distribution over the true class is averaged with that of the sample's nearest neighbours by cosine of the
    last layer's features: they have not been trained on this sample's label, so a label that the model has memorised does
    not speak for itself. The neighbours' weight is the square of the share of given labels that the predictions fit: the
    more of them, wrong ones included, a model fits, the less it says about them.

    Args:
        neighbours: How many neighbours.
        weight: Weight of their mean, in [0, 1]; ``None`` is the square of the share of given labels that are fitted.
        references: At most so many samples are searched for neighbours, drawn at random.
        random_state: Seed of this draw.

    Attributes:
        weight_: Weight of the neighbours.
        rate_: Share of the surest samples whose given label is another class.
        pattern_: Where flipped labels go, shape (K, K): row k is a distribution over given classes other than k.
    """

    reads: ClassVar[Reads] = "evidence"
    rows = True

    def __init__(
        self, *, neighbours: int = 50, weight: float | None = None, references: int = 10_000, random_state: int = 0
    ) -> None:
        self.neighbours, self.weight = neighbours, weight
        self.references, self.random_state = references, random_state

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Learns where flipped labels go.

        Args:
            X: :class:`Evidence`, or predicted probabilities, shape (n, K).
            y: Given labels, shape (n,).

        Returns:
            The detector itself.
        """
        evidence, labels = _checked(X, y)
        fitted = [
            (rows.argmax(axis=1) == labels[start : start + len(rows)]).sum()
            for start, rows in evidence.predictions.chunks()
        ]
        self.weight_ = float(sum(fitted) / len(labels)) ** 2 if self.weight is None else self.weight
        found = [(belief.argmax(axis=1), belief.max(axis=1)) for _, belief in self.beliefs(evidence)]
        likeliest, sureness = (np.concatenate(parts) for parts in zip(*found, strict=True))
        self.rate_, self.pattern_ = flips(likeliest, sureness, labels, evidence.predictions.shape[1])
        return self

    def score_samples(self, X: Any, y: Any = None) -> np.ndarray:  # noqa: N803
        """Probability that each given label is right.

        Args:
            X: :class:`Evidence`, or predicted probabilities, shape (n, K).
            y: Given labels, shape (n,).

        Returns:
            Shape (n,), in [0, 1]; high = normal.
        """
        evidence, labels = _checked(X, y)
        return np.concatenate(
            [
                1.0 - wrong_label_probability(belief, labels[start : start + len(belief)], self.rate_, self.pattern_)
                for start, belief in self.beliefs(evidence)
            ]
        )

    def beliefs(self, evidence: Evidence) -> Iterator[tuple[int, np.ndarray]]:
        """The distribution over the true class, a few samples at a time.

        Args:
            evidence: Predictions and, where there are any, features.

        Yields:
            Position of the first sample, and an array of shape (m, K), float64.
        """
        predictions, features = evidence.predictions, evidence.features
        size = len(predictions)
        drawn = np.arange(size)
        if size > self.references:
            drawn = np.sort(np.random.default_rng(self.random_state).choice(size, self.references, replace=False))
        alone = features is None or not self.weight_ or len(drawn) < 2
        if not alone:
            near_to, theirs = _unit(features.rows(drawn)), predictions.rows(drawn).astype(np.float64)
            count = min(self.neighbours, len(drawn) - 1)
        for start in range(0, size, CHUNK):
            own = np.arange(start, min(start + CHUNK, size))
            belief = predictions.rows(own).astype(np.float64)
            if not alone:
                likeness = _unit(features.rows(own)) @ near_to.T
                likeness[own[:, None] == drawn] = -np.inf  # a sample is no neighbour of its own
                near = np.argpartition(-likeness, count - 1, axis=1)[:, :count]
                belief = (1 - self.weight_) * belief + self.weight_ * theirs[near].mean(axis=1)
            yield start, belief


class WrongLabelPosteriorAlongTraining(WrongLabelPosterior):
    """The same from predictions averaged along training, which hold what the final model has memorised away."""

    reads: ClassVar[Reads] = "evidence_along_training"


def flips(likeliest: np.ndarray, sureness: np.ndarray, labels: np.ndarray, classes: int) -> tuple[float, np.ndarray]:
    """How often labels are flipped, and where they go, from the samples of which the model is surest.

    Args:
        likeliest: The class that each sample is believed to be of, shape (n,).
        sureness: Its probability, shape (n,).
        labels: Given labels, shape (n,).
        classes: Number of classes K.

    Returns:
        The share of given labels that differ from the believed class, and the distribution of those over classes, shape
        (K, K), zero on the diagonal.
    """
    counts = np.zeros((classes, classes))
    for one in range(classes):
        members = np.flatnonzero(likeliest == one)
        surest = members[np.argsort(-sureness[members], kind="stable")[: max(5, int(SUREST * len(members)))]]
        counts[one] = np.bincount(labels[surest], minlength=classes)
    elsewhere = counts * (1 - np.eye(classes))
    rate = float(elsewhere.sum() / max(counts.sum(), 1.0))
    even = (1 - np.eye(classes)) / (classes - 1)
    advance = np.maximum(STRENGTH * counts.sum(axis=1, keepdims=True), 1.0)
    pattern = (elsewhere + advance * even) / (elsewhere.sum(axis=1, keepdims=True) + advance)
    return float(np.clip(rate, 0.01, 0.6)), pattern


def wrong_label_probability(belief: np.ndarray, labels: np.ndarray, rate: float, pattern: np.ndarray) -> np.ndarray:
    """``1 - q_y T[y, y] / sum_k q_k T[k, y]`` with ``T = (1 - rate) I + rate pattern``.

    With two classes, or flips that are spread evenly, the order is that of ``1 - q_y``.

    Args:
        belief: Distribution over the true class, shape (n, K).
        labels: Given labels, shape (n,).
        rate: Share of flipped labels.
        pattern: Where they go, shape (K, K).

    Returns:
        Shape (n,).
    """
    transition = (1 - rate) * np.eye(belief.shape[1]) + rate * pattern
    joint = belief * transition[:, labels].T
    own = joint[np.arange(len(labels)), labels]
    total = joint.sum(axis=1)
    return 1.0 - np.divide(own, total, out=np.zeros_like(own), where=total > 0)


def _checked(evidence: Any, y: Any) -> tuple[Evidence, np.ndarray]:
    """Evidence as matrices that are read in pieces, and the given labels."""
    evidence = evidence if isinstance(evidence, Evidence) else Evidence(evidence)
    name = WrongLabelPosterior.__name__
    predictions, features = _matrix(evidence.predictions), _matrix(evidence.features)
    if predictions is None or predictions.shape[1] < 2:
        raise DataError(
            f"{name} needs class probabilities of shape (n, K) with K >= 2; a trajectory holds their mean where a Recorder "
            "has seen a task with classes"
        )
    for start, rows in predictions.chunks():
        if not (np.isfinite(rows).all() and rows.min() >= 0 and rows.max() <= 1 + 1e-6):
            raise DataError(
                f"{name} needs probabilities between 0 and 1, given others among {len(rows)} samples from position {start} "
                "(NaN along training stands for a sample that was never recorded)"
            )
    if features is not None and len(features) != len(predictions):
        raise DataError(f"{name}: {len(features)} rows of features for {len(predictions)} predictions")
    labels = given_labels(y, len(predictions), name)
    if labels.min() < 0 or labels.max() >= predictions.shape[1]:
        raise DataError(f"{name}: labels outside 0 ... {predictions.shape[1] - 1}")
    return Evidence(predictions, features), labels


def _matrix(values: Any) -> GradientMatrix | None:
    return values if values is None or isinstance(values, GradientMatrix) else ArrayMatrix(np.asarray(values))


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length one, float32; what has no length stays zero."""
    rows = rows.astype(np.float32)
    unit: np.ndarray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit
