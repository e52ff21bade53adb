"""What evidence says against given labels: of all samples, and of those outside of a fold as if the fold were not known.

A cure that is compared on held-out labels must not have been made with them. Soft targets from heads that have learnt a
fold's labels pull the training towards these labels, and held-out accuracy then rises by more than the cure is worth.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradsift.cleaning.cure import Cure, drop, relabel, soft, softened, without
from gradsift.cleaning.reviewed import Reviewed
from gradsift.detectors import WrongLabelPosterior
from gradsift.detectors.confident_learning import confident_learning
from gradsift.detectors.heads_in_rounds import evidence_of_features
from gradsift.errors import DataError
from gradsift.evidence import Evidence

logger = logging.getLogger(__name__)

LOWEST = -1.0
"""Score of samples about which nothing is asked, below every probability."""


@dataclass(frozen=True)
class LabelDoubts:
    """What evidence says against the given labels of n samples.

    Attributes:
        labels: Given labels, shape (n,).
        scores: Shape (n,); high = detrimental.
        posterior: Probabilities of the true class, shape (n, K).
        pruned: Positions that confident learning prunes
            (:func:`~gradsift.detectors.confident_learning.confident_learning`).
    """

    labels: np.ndarray
    scores: np.ndarray
    posterior: np.ndarray
    pruned: np.ndarray

    @property
    def size(self) -> int:
        """How many samples are asked about."""
        return int((self.scores > LOWEST).sum())

    @property
    def wrong(self) -> np.ndarray:
        """Probability that each given label is wrong, shape (n,)."""
        return np.clip(1 - self.posterior[np.arange(len(self.labels)), self.labels], 0, 1)

    @property
    def flips(self) -> np.ndarray:
        """How often labels of a class k are given as y, ``T[k, y] = sum_{i: y_i = y} p_ik / sum_i p_ik``; shape (K, K)."""
        joint = self.posterior.T.astype(np.float64) @ np.eye(self.posterior.shape[1])[self.labels]
        of_class = joint.sum(axis=1, keepdims=True)
        return np.where(of_class > 0, joint / np.where(of_class > 0, of_class, 1), np.eye(len(joint)))

    def drop(self, count: float) -> Cure:
        """Drops the samples with the highest scores."""
        return drop(self.scores, self.labels, round(count))

    def relabel(self, count: float) -> Cure:
        """Relabels the samples with the highest scores."""
        return relabel(self.posterior, self.scores, self.labels, round(count))

    def prune(self, cure: Cure) -> Cure:
        """A cure without what confident learning prunes, but for labels that are certain."""
        pruned = self.pruned[self.wrong[self.pruned] > 0]
        return without(cure, pruned[np.argsort(-self.wrong[pruned], kind="stable")]) if len(pruned) else cure

    def soften(self) -> Cure:
        """Soft targets for all samples."""
        return soft(softened(self.posterior), self.labels)


def doubts_of(
    evidence: Evidence, labels: np.ndarray, reviewed: Reviewed, *, last_epoch: np.ndarray | None = None, seed: int = 0
) -> LabelDoubts:
    """Reads evidence, and the decisions of people, which stand above it.

    Args:
        evidence: Predictions that have not seen their sample, and features where there are any.
        labels: Given labels, shape (n,).
        reviewed: What people have decided.
        last_epoch: Predictions that confident learning reads; those of the evidence where left out.
        seed: Seed of the detector.

    Returns:
        The doubts.
    """
    everything = np.arange(len(labels))
    if evidence.predictions is None:
        raise DataError("doubts about labels need predictions")
    if last_epoch is None:
        last_epoch = evidence.predictions.rows(everything)
    detector = WrongLabelPosterior(random_state=seed).fit(evidence, labels)
    true = reviewed.targets(detector.target_probabilities(everything), labels)
    wrong, decided = -detector.score_samples(evidence, labels), np.array(list(reviewed.decisions), dtype=np.int64)
    wrong[decided] = 1 - true[decided, labels[decided]]
    return LabelDoubts(labels, wrong, true, confident_learning(last_epoch, labels))


class UnseenDoubts:
    """Doubts about the samples outside of a fold, by heads that have never learnt the fold's labels.

    Args:
        evidence: Labels and features of a body that was not trained on them, of all samples.
        fold_of: The fold of each sample, shape (n,).
        known: The doubts about all samples.
        reviewed: What people have decided.
        groups: Group of each sample, shape (n,); none is split over folds.
        seed: Seed of heads and detector.
    """

    def __init__(
        self,
        evidence: Evidence,
        fold_of: np.ndarray,
        known: LabelDoubts,
        reviewed: Reviewed,
        *,
        groups: Any = None,
        seed: int = 0,
    ) -> None:
        self._evidence, self._fold_of, self._known = evidence, fold_of, known
        self._reviewed, self._groups, self._seed = reviewed, groups, seed

    def outside(self, fold: int) -> LabelDoubts:
        """Doubts about all samples but those of a fold, whose labels are taken as right.

        Args:
            fold: The fold.

        Returns:
            The doubts; those about all samples where a class is too small for evidence without the fold.
        """
        labels, outside = self._known.labels, np.flatnonzero(self._fold_of != fold)
        try:
            evidence = evidence_of_features(
                self._evidence, rows=outside, groups=self._groups, seed=self._seed, show_progress=False
            )
        except DataError as error:
            logger.warning("cures that are compared on fold %d were made with its labels: %s", fold, error)
            return self._known
        part = doubts_of(evidence, labels[outside], Reviewed({}), seed=self._seed)
        true = np.eye(self._known.posterior.shape[1], dtype=part.posterior.dtype)[labels]
        true[outside] = 0
        true[outside, : part.posterior.shape[1]] = part.posterior
        true[outside] = self._reviewed.targets(true, labels)[outside]
        decided = np.array(list(self._reviewed.decisions), dtype=np.int64)
        decided = decided[self._fold_of[decided] != fold]
        scores = np.full(len(labels), LOWEST)
        scores[outside] = part.scores
        scores[decided] = 1 - true[decided, labels[decided]]
        return LabelDoubts(labels, scores, true, outside[part.pruned])
