"""What evidence says against given labels: of all samples, and of those outside of a fold as if the fold were not known.

A cure that is compared on held-out labels must not have been made with them. Soft targets from models that have learnt a
fold's labels pull the training towards these labels, and held-out accuracy then rises by more than the cure is worth.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
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
from gradsift.progress import progress

logger = logging.getLogger(__name__)

WithoutFold = Callable[[int, np.ndarray], Evidence]
"""From a fold, and the positions of the samples outside of it, to evidence about these by models that have not seen it."""


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

    def __len__(self) -> int:
        """Number of samples n."""
        return len(self.labels)

    @property
    def wrong(self) -> np.ndarray:
        """Probability that each given label is wrong, shape (n,)."""
        return np.clip(1 - self.posterior[np.arange(len(self.labels)), self.labels], 0, 1)

    @property
    def flips(self) -> np.ndarray:
        """How often labels of a class k are given as y, ``T[k, y] = sum_{i: y_i = y} p_ik / sum_i p_ik``; shape (K, K).

        Classes that are never given, for which a model may have outputs, stay apart: with them no T could be inverted.
        """
        joint = self.posterior.T.astype(np.float64) @ np.eye(self.posterior.shape[1])[self.labels]
        of_class = joint.sum(axis=1, keepdims=True) * joint.any(axis=0)[:, None]
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

    Raises:
        DataError: There are no predictions.
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


@dataclass(frozen=True)
class UnseenDoubts:
    """Doubts about the samples outside of a fold, by models that have never learnt the fold's labels.

    Attributes:
        outside: Positions of these samples.
        doubts: The doubts about them.
        labels: Given labels of all samples, shape (n,).
    """

    outside: np.ndarray
    doubts: LabelDoubts
    labels: np.ndarray

    def cure(self, plan: Callable[[LabelDoubts], Cure]) -> Cure:
        """The cure of all samples that does nothing to those of the fold.

        Args:
            plan: From doubts to a cure.

        Returns:
            The cure.
        """
        made = plan(self.doubts)
        inside = np.setdiff1d(np.arange(len(self.labels)), self.outside)
        kept = np.sort(np.append(self.outside[made.kept], inside))
        targets = np.eye(self.doubts.posterior.shape[1], dtype=np.float32)[self.labels]
        return Cure(
            made.how, self.labels, kept, labels=self._placed(made.labels, self.labels),
            targets=self._placed(made.targets, targets), weights=self._placed(made.weights, np.ones(len(self.labels))),
        )  # fmt: skip

    def _placed(self, values: np.ndarray | None, of_all: np.ndarray) -> np.ndarray | None:
        if values is None:
            return None
        placed = of_all.astype(values.dtype)
        placed[self.outside] = values
        return placed


def unseen_doubts(
    without: WithoutFold,
    fold_of: np.ndarray,
    known: LabelDoubts,
    reviewed: Reviewed,
    *,
    seed: int = 0,
    show_progress: bool = True,
) -> list[UnseenDoubts] | None:
    """Doubts without the labels of each fold.

    Args:
        without: From a fold, and the positions of the samples outside of it, to evidence about these samples by models that
            have not seen the fold's labels.
        fold_of: The fold of each sample, shape (n,).
        known: The doubts about all samples.
        reviewed: What people have decided.
        seed: Seed of the detector.
        show_progress: Whether to show a progress bar.

    Returns:
        One for each fold; ``None`` where a class is too small for evidence without one of the folds.
    """
    labels, made = known.labels, []
    with progress("evidence without each fold", int(fold_of.max()) + 1, unit="folds", show=show_progress) as bar:
        for fold in range(int(fold_of.max()) + 1):
            outside = np.flatnonzero(fold_of != fold)
            place = {int(position): number for number, position in enumerate(outside)}
            decided = {place[old]: one for old, one in reviewed.decisions.items() if old in place}
            try:
                part = without(fold, outside)
            except DataError as error:
                logger.warning(
                    "cures have seen the labels they are compared on, so gains may look too large: %s", error
                )
                return None
            last_epoch = None if part.by_epoch is None else part.by_epoch[-1]
            doubts = doubts_of(part, labels[outside], Reviewed(decided), last_epoch=last_epoch, seed=seed)
            made.append(UnseenDoubts(outside, doubts, labels))
            bar.advance(1)
    return made


def heads_without_fold(evidence: Evidence, classes: int, *, groups: Any = None, seed: int = 0) -> WithoutFold:
    """Heads on features that have not seen a fold, for :func:`unseen_doubts`.

    Args:
        evidence: Labels and features of a body that was not trained on them, of all samples.
        classes: Number of classes K.
        groups: Group of each sample, shape (n,); none is split over folds.
        seed: Seed of the heads.

    Returns:
        From a fold, and the positions of the samples outside of it, to evidence about these.
    """
    return lambda _fold, outside: evidence_of_features(
        evidence, rows=outside, classes=classes, groups=groups, seed=seed, show_progress=False
    )
