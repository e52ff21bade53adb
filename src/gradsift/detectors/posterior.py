"""The probability that a given label is wrong, from what the model thinks of the sample and of its neighbours.

Labels are flipped from the true class k to the given class y with probability T[k, y]. With the belief q about the
true class, Bayes' rule gives ``P(wrong | x, y) = 1 - q_y T[y, y] / sum_k q_k T[k, y]``. T is not known; how flips are
spread over classes is read from the samples of which the model is surest (the noise transition of Natarajan et al. 2013
and Patrini et al. 2017, estimated without clean labels).
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from scipy.special import gammaln

from gradsift.detectors.base import Detector, Reads, given_labels
from gradsift.detectors.belief import Belief, Evidence
from gradsift.errors import DataError

SUREST = 0.3
"""Share of the samples of a predicted class that are looked at to see where its labels go."""
CAUTION = 3.0
"""How many times over the estimated prior counts: a model's own confusions look like flips, patterns must stand out."""
CONCENTRATIONS = np.geomspace(0.1, 1000, 60)


class WrongLabelPosterior(Detector):
    """``score_samples = -P(given label is wrong | x, y)``.

    Args:
        neighbours: At most how many neighbours have a say; see :class:`~gradsift.detectors.belief.Belief`.
        weight: Weight of their mean, in [0, 1]; ``None`` goes by the share of given labels that the model fits.
        references: At most so many samples are searched for neighbours, drawn at random.
        random_state: Seed of this draw.

    Attributes:
        belief_: Distribution over the true class of the fitted samples, before their given label is looked at.
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
            X: :class:`~gradsift.detectors.belief.Evidence`, or predicted probabilities, shape (n, K).
            y: Given labels, shape (n,).

        Returns:
            The detector itself.
        """
        self._fitted_on = None
        self.belief_, labels = self._belief(X, y)
        self._fitted_on = X
        found = [(rows.argmax(axis=1), rows.max(axis=1)) for _, rows in self.belief_.chunks()]
        likeliest, sureness = (np.concatenate(parts) for parts in zip(*found, strict=True))
        self.rate_, self.pattern_ = flips(likeliest, sureness, labels, self.belief_.shape[1])
        return self

    def score_samples(self, X: Any, y: Any = None) -> np.ndarray:  # noqa: N803
        """Probability that each given label is wrong, negated.

        Args:
            X: :class:`~gradsift.detectors.belief.Evidence`, or predicted probabilities, shape (n, K).
            y: Given labels, shape (n,).

        Returns:
            Shape (n,), in [-1, 0]; high = normal.
        """
        belief, labels = self._belief(X, y)
        parts = [
            wrong_label_probability(rows, labels[start : start + len(rows)], self.rate_, self.pattern_)
            for start, rows in belief.chunks()
        ]
        return -np.concatenate(parts)

    def _belief(self, evidence: Any, y: Any) -> tuple[Belief, np.ndarray]:
        """The belief, which is the fitted one for what was fitted, and the given labels."""
        known = self.belief_ if evidence is self._fitted_on and evidence is not None else None
        whole = evidence if isinstance(evidence, Evidence) else Evidence(evidence)
        size = len(known) if known is not None else len(whole.predictions) if whole.predictions is not None else 0
        labels = given_labels(y, size, type(self).__name__) if size else np.zeros(0, dtype=np.int64)
        belief = known or Belief(
            whole, labels, neighbours=self.neighbours, weight=self.weight, references=self.references,
            seed=self.random_state,
        )  # fmt: skip
        if labels.min() < 0 or labels.max() >= belief.shape[1]:
            raise DataError(f"{type(self).__name__}: labels outside 0 ... {belief.shape[1] - 1}")
        return belief, labels


class WrongLabelPosteriorAlongTraining(WrongLabelPosterior):
    """The same from predictions averaged along training, which hold what the final model has memorised away."""

    reads: ClassVar[Reads] = "evidence_along_training"


def flips(likeliest: np.ndarray, sureness: np.ndarray, labels: np.ndarray, classes: int) -> tuple[float, np.ndarray]:
    """How often labels are flipped, and where they go, from the samples of which the model is surest.

    Where they go has a Dirichlet prior that is even over the other classes; how strong it is (:func:`concentration`) is
    told by the counts themselves: flips between pairs of classes leave it weak, flips to any class make it strong.

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
    others = 1 - np.eye(classes)
    elsewhere = counts * others
    rate = float(elsewhere.sum() / max(counts.sum(), 1.0))
    prior = CAUTION * concentration(elsewhere)
    pattern = (elsewhere + prior / (classes - 1) * others) / (elsewhere.sum(axis=1, keepdims=True) + prior)
    return float(np.clip(rate, 0.01, 0.6)), pattern


def concentration(counts: np.ndarray) -> float:
    """Maximum-likelihood concentration a of the prior ``Dirichlet(a / (K - 1), ...)`` that rows of counts were drawn by.

    The likelihood of a row n with sum N is ``G(a) / G(a + N) prod_j G(n_j + a / (K - 1)) / G(a / (K - 1))`` but for a
    factor without a, G the gamma function (the Dirichlet-multinomial distribution).

    Args:
        counts: Flips from class k (row) to each other class, shape (K, K), zero on the diagonal.

    Returns:
        Between 0.1 and 1,000; large where counts are as even as chance leaves them.
    """
    totals, cells, others = counts.sum(axis=1), counts[counts > 0], max(1, len(counts) - 1)

    def likelihood(a: float) -> float:
        own = gammaln(cells + a / others).sum() - len(cells) * gammaln(a / others)
        return float(own + len(totals) * gammaln(a) - gammaln(a + totals).sum())

    return float(max(CONCENTRATIONS[::-1], key=likelihood))


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
