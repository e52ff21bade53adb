"""A cure beside no change: what held-out samples with their given labels say of both.

Where cures have not seen these labels, accuracy can be corrected for how often labels of each class are flipped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gradsift.cleaning.cure import Cure
from gradsift.evaluation.noisy_likelihood import noisy_likelihood
from gradsift.evaluation.statistics import Estimate, estimate

UNCLEAR = 20.0
"""Condition number of a flip matrix above which accuracy is not corrected by it."""


@dataclass(frozen=True)
class Comparison:
    """A cure beside no change, on samples that were held out.

    Attributes:
        cure: The cure.
        folds: How many folds it was tried on.
        accuracy: Gain in accuracy, in points, on given labels or corrected for flips; its interval holds for all cures at
            once with 95 %.
        likelihood: Gain in the likelihood of given labels, in nats a sample.
    """

    cure: Cure
    folds: int
    accuracy: Estimate
    likelihood: Estimate

    @property
    def helps(self) -> bool:
        """Whether accuracy rises beyond its interval and likelihood does not fall."""
        return self.accuracy.sign > 0 and self.likelihood.mean > 0

    def row(self) -> dict[str, str]:
        """The comparison as words, for tables."""
        return {
            "cure": self.cure.name,
            "changed": f"{len(self.cure.changed):,}",
            "folds": str(self.folds),
            "held-out accuracy (points)": f"{self.accuracy.mean:+.2f} ± {self.accuracy.half_width:.2f}",
            "likelihood (nats)": f"{self.likelihood.mean:+.4f} ± {self.likelihood.half_width:.4f}",
        }


class Tried:
    """A cure with what was predicted after it, fold by fold.

    Args:
        number: Its number among the candidates.
        cure: The cure.
        confidence: Of its intervals.
        worth: What a prediction is worth where a label is given, as of :func:`worth_of`.

    Attributes:
        comparison: What is known so far; ``None`` before the first fold, and of what is given up.
        given_up: Whether it is compared no further.
    """

    def __init__(self, number: int, cure: Cure, confidence: float, worth: np.ndarray) -> None:
        self.number, self.cure, self._confidence, self._worth = number, cure, confidence, worth
        self.comparison: Comparison | None = None
        self.given_up = False
        self._predicted: list[np.ndarray] = []
        self._differences: list[tuple[np.ndarray, np.ndarray]] = []

    def give_up(self) -> None:
        """Compares it no further."""
        self.given_up, self.comparison = True, None

    def compare(self, predicted: np.ndarray, unchanged: np.ndarray, likely: np.ndarray, labels: np.ndarray) -> None:
        """Adds a fold's predictions, and compares all folds so far with no change."""
        self._predicted.append(predicted)
        self._differences = [self._difference(np.concatenate(self._predicted), unchanged, likely, labels)]
        self._estimate()

    def repeat(self, predicted: np.ndarray, unchanged: np.ndarray, labels: np.ndarray) -> None:
        """Adds predictions of all folds, in their order, by trainings with another seed."""
        likely = noisy_likelihood(unchanged, labels)
        self._differences.append(self._difference(predicted, unchanged, likely, labels))
        self._estimate()

    def _difference(
        self, predicted: np.ndarray, unchanged: np.ndarray, likely: np.ndarray, labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Gain of each sample in accuracy, in points, and in likelihood."""
        right = self._worth[labels, predicted.argmax(axis=1)] - self._worth[labels, unchanged.argmax(axis=1)]
        return 100 * right, noisy_likelihood(predicted, labels) - likely

    def _estimate(self) -> None:
        right, gain = (np.mean(values, axis=0).tolist() for values in zip(*self._differences, strict=True))
        self.comparison = Comparison(
            self.cure, len(self._predicted), estimate(right, confidence=self._confidence),
            estimate(gain, confidence=self._confidence),
        )  # fmt: skip


def can_be_corrected(flips: np.ndarray, unchanged: np.ndarray, labels: np.ndarray) -> bool:
    """Whether flips can be told, and given labels tell anything.

    Of labels that are mere chance no flips can be told, and a correction by them would multiply noise. So given labels must
    be likelier by predictions than by how frequent each class is, beyond the interval.

    Args:
        flips: T, shape (K, K).
        unchanged: Held-out probabilities of trainings without a cure, shape (n, K).
        labels: Given labels, shape (n,).

    Returns:
        Whether accuracy may be corrected by them.
    """
    if np.linalg.cond(flips) > UNCLEAR:
        return False
    frequent = np.log(np.bincount(labels)[labels] / len(labels))
    return estimate((noisy_likelihood(unchanged, labels) - frequent).tolist()).sign > 0


def worth_of(flips: np.ndarray | None, classes: int) -> np.ndarray:
    """What each prediction is worth where a label is given, ``T^-1``: 1 in the mean where it is right.

    Of flips that depend on the class alone, ``sum_y T[k, y] (T^-1)[y, p] = [p = k]`` (Natarajan et al., NeurIPS 2013).

    Args:
        flips: T, shape (K, K); accuracy on given labels where ``None``.
        classes: Number of columns of the predictions, which may be more than K.

    Returns:
        By given label and prediction, shape (classes, classes).
    """
    worth = np.eye(classes)
    if flips is not None:  # a model may have outputs for more classes than there are
        worth[: len(flips), : len(flips)] = np.linalg.inv(flips)
    return worth
