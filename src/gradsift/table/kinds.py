"""What a flagged sample looks like: a wrong label, an ambiguous or an atypical input, or a conflicting duplicate.

q is what is believed of the sample's true class before its given label y is looked at, and T[k, y] the probability that
class k is labelled y. Class k explains the label as a flip by ``q_k (K - 1) W[k, y]``, W where flips go: for flips that go
anywhere, by q_k. What speaks for the label is ``q_y - sum_{k != y} q_k T[k, y]``, for a model that was trained on flips
believes them that much. The kinds are then, and the first that fits is meant:

* ``duplicate``: another sample has the same input and another label;
* ``atypical``: nothing explains the label better than that it is right, or the input is far from its nearest neighbours;
* ``wrong_label``: a class explains it as a flip :data:`ODDS` times better than that it is right;
* ``atypical``: no class is believed in, the two likeliest hold less than half of q;
* ``ambiguous``: what is left, several classes share the belief.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gradsift.detectors import Belief, FlipPattern, WrongLabelPosterior
from gradsift.scratch import empty

WRONG, AMBIGUOUS, ATYPICAL, DUPLICATE = KINDS = ("wrong_label", "ambiguous", "atypical", "duplicate")
"""Codes of the kinds, as in the column ``reason_kind``."""
KIND_NAMES = {
    WRONG: "likely wrong label",
    AMBIGUOUS: "ambiguous",
    ATYPICAL: "atypical input",
    DUPLICATE: "conflicting duplicate",
}
"""Kind to its name in headings."""
ODDS = 10.0
"""How many times better than its being right a flip must explain a label that is called wrong."""
FAR = 0.975
"""An input is far from its neighbours if this share of all samples is nearer to theirs."""
PIECE_BYTES = 8 * 2**20
"""Most bytes of the beliefs about flagged samples that are held at a time."""


class Rows(Protocol):
    """A matrix that is read in pieces, such as a :class:`~gradsift.store.GradientMatrix`."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        ...

    def rows(self, positions: np.ndarray) -> np.ndarray:
        """Some rows."""
        ...

    def chunks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Position of the first row of a piece and the piece, in order."""
        ...


@dataclass(frozen=True)
class Beliefs:
    """What is believed of the true class of every sample, and how labels are flipped.

    Attributes:
        belief: Distribution over the true class before the given label is looked at, shape (n, K).
        pattern: Where flipped labels go.
        rate: Share of flipped labels, in [0, 1].
        relative: Rate of each class over it, shape (K,); 1 where they are alike.
        sources: The model's predictions and its neighbours', of which the belief is made, where they are known.
    """

    belief: Rows
    pattern: FlipPattern
    rate: float
    relative: float | np.ndarray = 1.0
    sources: Belief | None = None

    @classmethod
    def of(cls, detector: WrongLabelPosterior) -> Beliefs:
        """What a fitted detector believes.

        Args:
            detector: The detector.

        Returns:
            The beliefs.
        """
        relative = detector.rates_ / detector.rate_
        return cls(detector.belief_, detector.pattern_, detector.rate_, relative, detector.belief_)

    @classmethod
    def of_predictions(cls, predictions: Rows) -> Beliefs:
        """Takes predictions for beliefs, and flips for rare and even.

        Args:
            predictions: Predicted probabilities, shape (n, K).

        Returns:
            The beliefs.
        """
        return cls(predictions, FlipPattern.even(predictions.shape[1]), 0.0)

    def told_by(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the model alone predicts of some samples, and the classes of their neighbours.

        Args:
            positions: Which samples, shape (m,).

        Returns:
            Probabilities, shape (m, K), and the most probable class of each neighbour, shape (m, neighbours); no columns
            where neighbours are not known.
        """
        if self.sources is None:
            return self.belief.rows(positions), np.empty((len(positions), 0), dtype=np.int64)
        return self.sources.own(positions), self.sources.neighbour_classes(positions)

    def explain(self, belief: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How well a flip explains each label, and how well its being right does; only their ratio means anything.

        Args:
            belief: Beliefs about some samples, shape (m, K).
            labels: Their given labels, shape (m,).

        Returns:
            ``q_k (K - 1) W[k, y]`` times the relative rate of class k, shape (m, K), zero for the given label; ``q_y -
            sum_{k != y} q_k T[k, y]``, or 0 where that is negative, shape (m,).
        """
        flips = self.pattern.into(labels)
        flips *= belief * self.relative
        own = belief[np.arange(len(labels)), labels]
        return flips * (belief.shape[1] - 1), np.maximum(own - self.rate * flips.sum(axis=1), 0.0)

    def suggested(
        self, labels: np.ndarray, flagged: np.ndarray, duplicates: Mapping[int, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The other class that explains each given label best, and where it is to be suggested.

        It is where the belief is in another class than the given one; of a flagged sample also where a flip merely
        explains its label better than its being right. A sample with duplicates is given one of their labels.

        Args:
            labels: Given labels, shape (n,).
            flagged: Which samples are flagged, shape (n,), boolean.
            duplicates: Position to the positions of samples with the same input and other labels.

        Returns:
            Class numbers, shape (n,), int64, and where they are suggested, shape (n,), boolean.
        """
        suggestion, meant = empty(len(labels), np.int64), np.empty(len(labels), dtype=bool)
        for start, belief in self.belief.chunks():
            piece = slice(start, start + len(belief))
            flips, right = self.explain(belief, labels[piece])
            suggestion[piece] = flips.argmax(axis=1)
            meant[piece] = (belief.argmax(axis=1) != labels[piece]) | (flagged[piece] & (flips.max(axis=1) > right))
        for position, twins in duplicates.items():
            own = np.array([position])
            flips, right = self.explain(self.belief.rows(own), labels[own])
            theirs = labels[twins]
            suggestion[position] = theirs[flips[0, theirs].argmax()]
            meant[position] = flips[0, suggestion[position]] > right[0]
        return suggestion, meant


@dataclass(frozen=True)
class Known:
    """What is known of flagged samples where there are classes; ``m`` of them, in the order of their positions.

    Attributes:
        labels: Given labels of all samples, shape (n,).
        beliefs: What is believed of all samples.
        nearer: Share of the samples that are nearer to their neighbours than each of these, shape (m,); where features are.
        duplicates: Position to the positions of samples with the same input and other labels.
    """

    labels: np.ndarray
    beliefs: Beliefs
    nearer: np.ndarray | None
    duplicates: Mapping[int, np.ndarray]

    def explained(self, positions: np.ndarray) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray]]:
        """What is believed of flagged samples, and how well flips explain their labels, in pieces of at most 8 MiB.

        Args:
            positions: Which samples, shape (m,).

        Yields:
            Which of them, the belief about them, and what :meth:`Beliefs.explain` says of it.
        """
        size = max(1, PIECE_BYTES // (8 * self.beliefs.belief.shape[1]))
        for start in range(0, len(positions), size):
            part = slice(start, min(start + size, len(positions)))
            belief = self.beliefs.belief.rows(positions[part])
            yield part, belief, *self.beliefs.explain(belief, self.labels[positions[part]])


def kinds(positions: np.ndarray, known: Known) -> np.ndarray:
    """The kind of each flagged sample of a task with classes, by the rules of this module.

    Args:
        positions: Which samples, shape (m,).
        known: What is known of them.

    Returns:
        Codes of :data:`KINDS`, shape (m,).
    """
    best, right, two = (np.empty(len(positions)) for _ in range(3))
    for part, belief, flips, rightness in known.explained(positions):
        best[part], right[part] = flips.max(axis=1), rightness
        two[part] = np.partition(belief, -2, axis=1)[:, -2:].sum(axis=1)
    twin = np.array([position in known.duplicates for position in positions.tolist()], dtype=bool)
    far = np.zeros(len(positions), dtype=bool) if known.nearer is None else known.nearer >= FAR
    rules = [(twin, DUPLICATE), ((best <= right) | far, ATYPICAL), (best >= ODDS * right, WRONG), (two < 0.5, ATYPICAL)]
    return np.select([rule for rule, _ in rules], [kind for _, kind in rules], AMBIGUOUS)
