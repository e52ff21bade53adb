"""Pairs of a chosen and a rejected answer: the probability that they are swapped.

A pair's gradient is ``-sigmoid(-m)`` times the gradient of its margin ``m = r_c - r_r``, and swapping the pair turns that
direction around. For a reward head it is the difference of the two answers' features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from gradsift.detectors.base import Detector
from gradsift.detectors.posterior import WrongLabelPosterior
from gradsift.detectors.with_neighbours import is_out_of_fold
from gradsift.detectors.wrong_labels import WrongLabels
from gradsift.errors import DataError
from gradsift.evidence import Evidence
from gradsift.store import ArrayMatrix, GradientMatrix
from gradsift.store.gradient_matrix import Order, Positions

UNSEEN_WEIGHT = 0.3
"""Weight of the neighbours where predictions are those of a head that has not seen the pair."""


class BothWays(GradientMatrix):
    """Directions of the margin's gradient of n pairs, and of the same pairs swapped: 2n rows, read in pieces.

    Args:
        gradients: Gradients of the pairs' losses, shape (n, p).
        swapped: Probability under the model that the rejected answer is the better one, shape (n,).
    """

    def __init__(self, gradients: GradientMatrix, swapped: np.ndarray) -> None:
        self._gradients, self._sure = gradients, swapped
        self.shape, self.width, self.in_memory = (2 * len(swapped), gradients.shape[1]), gradients.width, False

    def rows(self, positions: Positions) -> np.ndarray:
        """Directions; zero where a gradient has vanished."""
        positions = np.asarray(positions, dtype=np.int64)
        pairs, size = positions % len(self._sure), len(self._sure)
        scale = np.where(self._sure[pairs] > 0, -1 / np.maximum(self._sure[pairs], np.finfo(np.float64).tiny), 0.0)
        scale = np.where(positions < size, scale, -scale)
        return (self._gradients.rows(pairs) * scale[:, None]).astype(np.float32)

    def entries(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Single numbers of the directions."""
        rows, columns = np.broadcast_arrays(rows, columns)
        return np.take_along_axis(self.rows(rows.ravel()), columns.reshape(-1, 1), axis=1).reshape(rows.shape)

    def norms(self, order: Order, positions: Positions | None = None) -> np.ndarray:
        """Norms of the directions."""
        chosen = np.arange(len(self)) if positions is None else np.asarray(positions, dtype=np.int64)
        return np.linalg.norm(self.rows(chosen).astype(np.float64), ord=order, axis=1)

    def _read(self, positions: Positions) -> GradientMatrix:
        return ArrayMatrix(self.rows(positions))


def both_ways(evidence: Evidence) -> Evidence:
    """Pairs, and the same pairs swapped, as samples of two classes: nothing then depends on which order is called right.

    Args:
        evidence: Evidence of n pairs: probabilities (n, 2), and gradients where they are known.

    Returns:
        Evidence of 2n samples with their directions as features; labels are 0 for pairs as they stand, 1 for swapped ones.

    Raises:
        DataError: It is no evidence of pairs.
    """
    if not isinstance(evidence, Evidence) or evidence.predictions is None or evidence.predictions.shape[1] != 2:
        raise DataError(
            "swapped pairs are told from Evidence with predictions of shape (n, 2), as tasks of pairs give them"
        )
    size = len(evidence)
    own = evidence.predictions.rows(np.arange(size)).astype(np.float64)
    sure = own[:, 1] if evidence.losses is None else -np.expm1(-evidence.losses)  # exact, and the model's own
    gradients = evidence.gradients
    directions = None if gradients is None or not gradients.shape[1] else BothWays(gradients, sure)
    return Evidence(
        np.concatenate([own, own[:, ::-1]]),
        features=directions,
        labels=np.repeat(np.arange(2), size),
        kind="class",
        provenance={"predictions": evidence.comes_from("predictions")},
    )


@dataclass(frozen=True)
class SwappedPairs(WrongLabels):
    """The share of pairs that are swapped; see :class:`~gradsift.detectors.WrongLabels`."""

    def words(self, size: int) -> str:
        """The estimate as sentences, with the setting of TRL that it is.

        Args:
            size: Number of pairs.

        Returns:
            Whole sentences.
        """
        return (
            f"Probably {round(self.share * size):,} of {size:,} pairs ({100 * self.share:.1f} %) are swapped; the 95 % "
            f"interval goes from {100 * self.low:.1f} % to {100 * self.high:.1f} %. For TRL's robust loss: "
            f"DPOConfig(loss_type='robust', label_smoothing={min(self.share, 0.49):.2f})."
        )


class SwappedPairPosterior(Detector):
    """``score_samples = -P(chosen and rejected are swapped)``.

    The posterior of a wrong label over pairs both ways. Neighbours of a pair are the pairs whose margin has the most
    similar gradient, or the opposite one when they are swapped. Where the prediction of a pair comes from a head that has
    not seen it, they weigh :data:`UNSEEN_WEIGHT`.

    Args:
        random_state: Seed of the draw of pairs among which neighbours are searched.

    Attributes:
        posterior_: The fitted :class:`~gradsift.detectors.WrongLabelPosterior` of pairs both ways.
        swapped_: Probability that each pair is swapped, shape (n,).
        wrong_labels_: How many pairs are swapped; ``None`` where predictions are not out of fold.
    """

    reads: ClassVar[tuple[str, ...]] = ("predictions", "gradients")
    of_kind = "pair"
    rows = True
    cut = 0.5

    def __init__(self, *, random_state: int = 0) -> None:
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Learns how often pairs are swapped.

        Args:
            X: :class:`~gradsift.evidence.Evidence` of pairs.
            y: Ignored: a pair stands as it was given.

        Returns:
            The detector itself.

        Raises:
            DataError: It is no evidence of pairs.
        """
        doubled = both_ways(X)
        weight = UNSEEN_WEIGHT if is_out_of_fold(doubled) else None
        self.posterior_ = WrongLabelPosterior(weight=weight, random_state=self.random_state).fit(
            doubled, doubled.labels
        )
        self.swapped_ = self._swapped(doubled)
        found = self.posterior_.wrong_labels_
        self.wrong_labels_ = None
        if found is not None:
            self.wrong_labels_ = SwappedPairs(
                found.share, found.low, found.high, float((self.swapped_ > self.cut).mean())
            )
        return self

    def score_samples(self, X: Any, y: Any = None) -> np.ndarray:  # noqa: N803
        """Probability that each pair is swapped, negated.

        Args:
            X: Evidence of pairs.
            y: Ignored.

        Returns:
            Shape (n,), in [-1, 0]; high = normal.
        """
        return -self._swapped(both_ways(X))

    def told(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the model and what the neighbours say of some fitted pairs.

        Args:
            positions: Which pairs, shape (m,).

        Returns:
            Probability under the model that the rejected answer is the better one, shape (m,), and for each neighbour
            whether it says so, shape (m, neighbours); no columns where neighbours have no say.
        """
        belief = self.posterior_.belief_
        return belief.own(positions)[:, 1], belief.neighbour_classes(positions) == 1

    def _swapped(self, doubled: Evidence) -> np.ndarray:
        wrong = -self.posterior_.score_samples(doubled, doubled.labels)
        return wrong.reshape(2, -1).mean(axis=0)
