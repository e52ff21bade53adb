"""Cures: what is done to a training set before a model is trained on it again.

A cure says of every sample whether it stays, and with which label, target or weight. It knows nothing of the data set's
form (:mod:`gradsift.cleaning.corrected` applies it) and claims nothing: whether it helps is for evidence to say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from gradsift.errors import DataError, SettingError

How = Literal["none", "drop", "relabel", "soft", "weight", "reviewed"]
HOWS: tuple[How, ...] = ("none", "drop", "relabel", "soft", "weight", "reviewed")


@dataclass(frozen=True)
class Cure:
    """What is done to each of n samples.

    Example:
        >>> cure = drop(np.array([0.1, 0.9, 0.2]), np.array([0, 0, 1]), count=1)
        >>> cure.how, cure.kept.tolist(), len(cure.changed)
        ('drop', [0, 2], 1)

    Attributes:
        how: Its kind.
        given: Given labels as class numbers, shape (n,).
        kept: Positions of the samples that stay, in order.
        labels: New labels, shape (n,), where samples are relabelled.
        parts: New labels that are no classes, as the data set stores them, by position, where samples are relabelled.
        targets: Probabilities of the true class, shape (n, K), where targets are soft.
        weights: Weight of each sample's loss, in [0, 1], shape (n,), where samples are weighted.
        pairs: Of pairs, the columns of the chosen and of the rejected answers; a new label 1 turns a pair around.
    """

    how: How
    given: np.ndarray
    kept: np.ndarray
    labels: np.ndarray | None = None
    targets: np.ndarray | None = None
    weights: np.ndarray | None = None
    pairs: tuple[str, str] | None = None
    parts: Mapping[int, Any] | None = None

    def __len__(self) -> int:
        """Number of samples n."""
        return len(self.given)

    @property
    def relabels(self) -> bool:
        """Whether samples get new labels in their column of labels."""
        return self.labels is not None or self.parts is not None

    @property
    def changed(self) -> np.ndarray:
        """Positions of the samples that are dropped or get another label.

        With soft targets those whose likeliest class is another one, too; with weights those that count less than half.
        """
        changed = np.ones(len(self), dtype=bool)
        changed[self.kept] = False
        if self.labels is not None:
            changed |= self.labels != self.given
        if self.parts is not None:
            changed[list(self.parts)] = True
        if self.targets is not None:
            changed |= self.targets.argmax(axis=1) != self.given
        if self.weights is not None:
            changed |= self.weights < 0.5
        return np.flatnonzero(changed)

    @property
    def name(self) -> str:
        """The cure in short, such as ``drop 10 %``."""
        if self.how in ("drop", "relabel", "reviewed"):
            return f"{self.how} {100 * len(self.changed) / max(1, len(self)):.3g} %"
        words = {"none": "no change", "soft": "soft targets", "weight": "weights"}[self.how]
        dropped = 1 - len(self.kept) / max(1, len(self))
        return words if not dropped else f"{words}, without {100 * dropped:.3g} %"

    @property
    def digest(self) -> bytes:
        """SHA-256 of what it does, which tells it from every other cure of the same data."""
        digest = hashlib.sha256(self.how.encode() + np.ascontiguousarray(self.kept).tobytes())
        for part in (self.labels, self.targets, self.weights):
            digest.update(b"" if part is None else np.ascontiguousarray(part).tobytes())
        for position, label in sorted((self.parts or {}).items()):
            digest.update(f"{position}: {np.asarray(label).tolist()!r}".encode())
        return digest.digest()

    def of(self, positions: np.ndarray) -> Cure:
        """The same cure of some samples, as a data set that holds these alone sees it.

        Args:
            positions: Positions of the samples, rising.

        Returns:
            A cure of ``len(positions)`` samples.
        """
        return replace(
            self,
            given=self.given[positions],
            kept=np.flatnonzero(np.isin(positions, self.kept)),
            labels=None if self.labels is None else self.labels[positions],
            targets=None if self.targets is None else self.targets[positions],
            weights=None if self.weights is None else self.weights[positions],
            parts=None if self.parts is None else _moved(self.parts, positions),
        )


def none(labels: np.ndarray) -> Cure:
    """Leaves the data as they are.

    Args:
        labels: Given labels, shape (n,).

    Returns:
        The cure.
    """
    return Cure("none", labels, np.arange(len(labels)))


def drop(scores: np.ndarray, labels: np.ndarray, count: int) -> Cure:
    """Removes the samples with the highest scores; of every given class the sample with the lowest score stays.

    Args:
        scores: Shape (n,); high = detrimental.
        labels: Given labels, shape (n,).
        count: How many.

    Returns:
        The cure.
    """
    ranked = _without_last_of_class(np.argsort(-scores, kind="stable"), labels)
    kept = np.ones(len(labels), dtype=bool)
    kept[ranked[:count]] = False
    return Cure("drop", labels, np.flatnonzero(kept))


def relabel(posterior: np.ndarray, scores: np.ndarray, labels: np.ndarray, count: int) -> Cure:
    """Gives the samples with the highest scores their likeliest class; of every given class one sample keeps its label.

    Args:
        posterior: Probabilities of the true class, shape (n, K).
        scores: Shape (n,); high = detrimental.
        labels: Given labels, shape (n,).
        count: How many samples are looked at; those whose likeliest class is the given one keep their label.

    Returns:
        The cure.
    """
    _refuse_shape(posterior, labels)
    ranked = _without_last_of_class(np.argsort(-scores, kind="stable"), labels)[:count]
    new = labels.copy()
    new[ranked] = posterior[ranked].argmax(axis=1)
    return Cure("relabel", labels, np.arange(len(labels)), labels=new)


def soft(posterior: np.ndarray, labels: np.ndarray) -> Cure:
    """Replaces every label by the probabilities of the true class.

    Args:
        posterior: Shape (n, K).
        labels: Given labels, shape (n,).

    Returns:
        The cure.
    """
    _refuse_shape(posterior, labels)
    return Cure("soft", labels, np.arange(len(labels)), targets=posterior.astype(np.float32))


def softened(posterior: np.ndarray) -> np.ndarray:
    """Targets with the order of a posterior and twice its temperature, ``t_k = sqrt(r_k) / sum_j sqrt(r_j)``.

    A model that memorises its targets gains more from these than from the posterior itself; a class that is certain stays
    so (docs/decisions/0014).

    Example:
        >>> softened(np.array([[0.9, 0.1], [1.0, 0.0]])).round(2).tolist()
        [[0.75, 0.25], [1.0, 0.0]]

    Args:
        posterior: Probabilities of the true class, shape (n, K).

    Returns:
        Shape (n, K); rows sum to one.
    """
    roots = np.sqrt(posterior)
    return roots / roots.sum(axis=1, keepdims=True)


def without(cure: Cure, positions: np.ndarray) -> Cure:
    """The same cure of fewer samples; every class keeps one.

    Args:
        cure: The cure.
        positions: Samples to drop, the most detrimental first.

    Returns:
        The cure.
    """
    dropped = keeping_every_class(positions, cure.given)
    return replace(cure, kept=np.setdiff1d(cure.kept, dropped))


def weight(wrong: np.ndarray, labels: np.ndarray) -> Cure:
    """Weighs every sample by the probability that its label is right.

    Args:
        wrong: Probability that the given label is wrong, shape (n,).
        labels: Given labels, shape (n,).

    Returns:
        The cure.

    Raises:
        SettingError: A probability is outside [0, 1].
    """
    if not (np.isfinite(wrong).all() and wrong.min() >= 0 and wrong.max() <= 1 + 1e-6):
        raise SettingError("weights need probabilities that labels are wrong, in [0, 1]: use the score of a posterior")
    return Cure("weight", labels, np.arange(len(labels)), weights=(1 - np.minimum(wrong, 1)).astype(np.float32))


def keeping_every_class(chosen: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Samples that may lose their label, so that every class keeps one.

    Example:
        >>> keeping_every_class(np.array([2, 0, 1]), np.array([0, 0, 1, 1]))
        array([2, 0])

    Args:
        chosen: Positions, the most detrimental first.
        labels: Given labels of all n samples, shape (n,).

    Returns:
        The positions without the last one of every class whose samples were all chosen.
    """
    lost = np.setdiff1d(labels, np.delete(labels, chosen))
    last = [np.flatnonzero(labels[chosen] == label)[-1] for label in lost]
    return np.delete(chosen, last)


def _moved(parts: Mapping[int, Any], positions: np.ndarray) -> dict[int, Any]:
    return {place: parts[position] for place, position in enumerate(positions.tolist()) if position in parts}


def _without_last_of_class(ranked: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """A ranking without the lowest-ranked sample of every given class."""
    last = len(ranked) - 1 - np.unique(labels[ranked][::-1], return_index=True)[1]
    return np.delete(ranked, last)


def _refuse_shape(posterior: np.ndarray, labels: np.ndarray) -> None:
    if posterior.ndim != 2 or len(posterior) != len(labels):
        raise DataError(
            f"probabilities of shape {posterior.shape} for {len(labels)} labels: give one row of K classes a sample"
        )
