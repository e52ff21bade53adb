"""Several labels a sample: the probability that any of them was wrongly given or wrongly left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Self

import numpy as np
from scipy.special import expit, logit

from gradsift.detectors.neighbours import Nearest, drawn
from gradsift.detectors.surroundings import out_of_bag
from gradsift.detectors.with_neighbours import PosteriorWithNeighbours
from gradsift.errors import DataError
from gradsift.evidence import Evidence
from gradsift.store import GradientMatrix

FEWEST = 100
"""With fewer samples a model's own predictions stand alone."""
CROWD = 50
"""Neighbours are at most one in so many samples."""
SUREST = 0.3
"""Share of the cells of a believed value that are looked at to see how often labels are added or left out."""
LEAST_RATE, LARGEST_RATE = 0.002, 0.5
FOREST = 0.3
"""Weight of the forest on the inputs."""
TINY = 1e-4


class WrongLabelSetPosterior(PosteriorWithNeighbours):
    """``score_samples = -max_k P(label k of the sample is wrong)``.

    Each label is a yes-or-no question about the sample. Its belief is the model's probability, averaged with that of the
    sample's nearest neighbours by cosine of the last layer's features; the more of the given labels a model fits, the more
    the neighbours weigh. Where inputs are a table, a random forest on them, read out of bag, has a say, too. How often
    labels are added, and how often they are left out, are two rates for all labels together, read from the cells of which
    the belief is surest: with few wrong cells a rate for each label would be chance.

    Args:
        neighbours: At most how many neighbours have a say.
        weight: Weight of their mean, in [0, 1]; ``None`` goes by the share of given labels that the model fits,
            and is one half for predictions that are out of fold.
        references: At most so many samples are searched for neighbours, drawn at random.
        random_state: Seed of this draw.

    Attributes:
        rates_: How often an absent label is given, and how often a present one is left out.
        weight_: The weight of the neighbours.
        around_: What the forest says of every label, shape (n, K); ``None`` where inputs are no table.

    Example:
        >>> probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.95, 0.9], [0.1, 0.9]])
        >>> evidence = Evidence(probabilities, labels=np.array([[1, 0], [1, 0], [1, 0], [0, 1]]), kind="multilabel")
        >>> fitted = WrongLabelSetPosterior().fit(evidence)
        >>> int(fitted.score_samples(evidence).argmin())
        2
    """

    reads: ClassVar[tuple[str, ...]] = ("predictions", "features", "inputs")
    of_kind = "multilabel"
    memory = 16  # a weight of 0.2 where the model fits 90 % of the labels, 0.9 at 99 %

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Learns how often labels are added and left out.

        Args:
            X: :class:`~gradsift.evidence.Evidence` with predictions (n, K) and labels (n, K) of zeros and ones.
            y: Ignored: the evidence has the labels.

        Returns:
            The detector itself.

        Raises:
            DataError: Labels and predictions differ in shape, or are no labels and probabilities.
        """
        labels, predictions = _checked(X)
        self.weight_, self.around_, self._fitted_on = self._weight(X, labels, predictions), None, X
        if X.inputs is not None and len(X) >= FEWEST:
            inputs = X.inputs.rows(np.arange(len(X)))
            missing = np.isnan(labels)
            means = np.nansum(labels, axis=0) / np.maximum(1, (~missing).sum(axis=0))
            known = np.where(missing, means, labels)
            self.around_ = out_of_bag(inputs, known, leaf=3, features="sqrt", seed=self.random_state)
        beliefs = np.concatenate([rows for _, rows in self._beliefs(X)])
        self.rates_ = _rates(beliefs, labels)
        return self

    def score_samples(self, X: Any, y: Any = None) -> np.ndarray:  # noqa: N803
        """Probability that the sample's worst label is wrong, negated.

        Args:
            X: As for :meth:`fit`.
            y: Ignored.

        Returns:
            Shape (n,), in [-1, 0]; high = normal. A label that is not known (NaN) is not looked at.
        """
        return -np.nanmax(self.wrong_probabilities(X), axis=1, initial=0.0)

    def wrong_probabilities(self, X: Any) -> np.ndarray:  # noqa: N803
        """Probability that each label is wrong.

        ``q_k r_10 / (q_k r_10 + (1 - q_k) (1 - r_01))`` for a label k that is left out, with q the belief in it, ``r_10``
        how often a present label is left out and ``r_01`` how often an absent one is given; and likewise for one that is
        given.

        Args:
            X: As for :meth:`fit`.

        Returns:
            Shape (n, K); NaN where a label is not known.
        """
        labels, _ = _checked(X)
        added, left_out = self.rates_
        parts = []
        for start, belief in self._beliefs(X):
            own = labels[start : start + len(belief)]
            against = logit(np.clip(np.where(own == 1, 1 - belief, belief), TINY, 1 - TINY))
            prior = np.where(own == 1, np.log(added / (1 - left_out)), np.log(left_out / (1 - added)))
            parts.append(np.where(np.isnan(own), np.nan, expit(against + prior)))
        return np.concatenate(parts)

    def _weight(self, evidence: Evidence, labels: np.ndarray, predictions: GradientMatrix) -> float:
        if evidence.features is None or len(evidence) < FEWEST:
            return 0.0

        def share() -> float:
            pieces = ((rows > 0.5) == labels[start : start + len(rows)] for start, rows in predictions.chunks())
            return float(np.concatenate(list(pieces))[~np.isnan(labels)].mean())

        return self.neighbours_weight(evidence, share)

    def _beliefs(self, evidence: Evidence) -> Iterator[tuple[int, np.ndarray]]:
        """The belief in each label, in order, in pieces."""
        predictions: GradientMatrix = evidence.predictions
        nearest = None
        if self.weight_:
            references = drawn(len(evidence), self.references, self.random_state)
            nearest = Nearest(evidence.features, references, min(self.neighbours, max(1, len(references) // CROWD)))
            theirs = predictions.rows(references).astype(np.float64)
        for start, rows in predictions.chunks():
            belief = rows.astype(np.float64)
            if nearest is not None:
                near, _ = nearest.of(np.arange(start, start + len(rows)))
                belief = (1 - self.weight_) * belief + self.weight_ * theirs[near].mean(axis=1)
            if self.around_ is not None and evidence is self._fitted_on:
                belief = (1 - FOREST) * belief + FOREST * self.around_[start : start + len(rows)]
            yield start, belief


def _rates(beliefs: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """How often labels are added and left out, among the surest cells of every label."""
    looked_at, other = np.zeros(2), np.zeros(2)
    for belief, label in zip(beliefs.T, labels.T, strict=True):
        for value in (0, 1):
            believed = np.flatnonzero(((belief > 0.5) == value) & ~np.isnan(label))
            count = max(5, int(SUREST * len(believed)))
            surest = believed[np.argsort(-np.abs(belief[believed] - 0.5), kind="stable")[:count]]
            looked_at[value] += len(surest)
            other[value] += (label[surest] != value).sum()
    added, left_out = np.clip((other + 1) / (looked_at + 20), LEAST_RATE, LARGEST_RATE)
    return float(added), float(left_out)


def _checked(evidence: Any) -> tuple[np.ndarray, GradientMatrix]:
    """Labels of shape (n, K), float64 with NaN where one is not known, and predictions.

    Raises:
        DataError: They are not.
    """
    labels = None if not isinstance(evidence, Evidence) or evidence.labels is None else np.asarray(evidence.labels)
    if labels is None or evidence.predictions is None or labels.shape != evidence.predictions.shape:
        shapes = "none" if labels is None else f"labels of shape {labels.shape}"
        raise DataError(
            f"the posterior of wrong label sets needs predictions and labels of one shape (n, K), given {shapes}: pass "
            "Evidence with labels of zeros and ones"
        )
    labels = labels.astype(np.float64)
    if not np.isin(labels[~np.isnan(labels)], (0, 1)).all():
        raise DataError("labels other than 0 and 1: recode them as zeros and ones, with NaN where one is not known")
    return labels, evidence.predictions
