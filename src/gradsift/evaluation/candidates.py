"""Which cures are worth a comparison, the most promising first."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from gradsift.cleaning.cure import Cure, drop, relabel, soft, softened, weight, without

SHARES = (0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5)
"""Shares of samples to drop that are tried where trainings cost little."""
RELABELLED = (0.05, 0.1, 0.2, 0.3, 0.4)
"""Shares of samples to relabel that are tried where trainings cost little."""
SMALLEST, LARGEST = 0.01, 0.5
"""Shares between which the estimated share of wrong labels is believed."""


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
    def wrong(self) -> np.ndarray:
        """Probability that each given label is wrong, shape (n,)."""
        return np.clip(1 - self.posterior[np.arange(len(self.labels)), self.labels], 0, 1)

    def drop(self, count: float) -> Cure:
        """Drops the samples with the highest scores."""
        return drop(self.scores, self.labels, round(count))

    def relabel(self, count: float) -> Cure:
        """Relabels the samples with the highest scores."""
        return relabel(self.posterior, self.scores, self.labels, round(count))

    def prune(self, cure: Cure) -> list[Cure]:
        """A cure without what confident learning prunes, but for labels that are certain; nothing where that is nothing."""
        pruned = self.pruned[self.wrong[self.pruned] > 0]
        return [without(cure, pruned[np.argsort(-self.wrong[pruned], kind="stable")])] if len(pruned) else []

    def soften(self) -> list[Cure]:
        """Soft targets for all samples, and without what confident learning prunes."""
        of_all = soft(softened(self.posterior), self.labels)
        return [of_all, *self.prune(of_all)]


def cures_on_grid(doubts: LabelDoubts, *, accepted: Collection[str] = ("soft", "weight")) -> list[Cure]:
    """Cures over a grid of budgets, for trainings that cost seconds.

    Args:
        doubts: What evidence says against the given labels.
        accepted: Which of soft targets and weights the training takes.

    Returns:
        The cures.
    """
    size = len(doubts.labels)
    cures = [
        *(doubts.drop(share * size) for share in SHARES),
        *(doubts.relabel(share * size) for share in RELABELLED),
        *(doubts.soften() if "soft" in accepted else []),
        *([weight(doubts.wrong, doubts.labels)] if "weight" in accepted else []),
        *doubts.prune(Cure("drop", doubts.labels, np.arange(size))),
    ]
    return _different(cures)


def cures_by_count(doubts: LabelDoubts, *, accepted: Collection[str] = ("soft", "weight")) -> list[Cure]:
    """A few cures around the expected number of wrong labels, for trainings that cost much.

    Args:
        doubts: What evidence says against the given labels.
        accepted: Which of soft targets and weights the training takes.

    Returns:
        The cures, the most promising first.
    """
    size = len(doubts.labels)
    expected = float(np.clip(doubts.wrong.sum(), SMALLEST * size, LARGEST * size))
    counts = dict.fromkeys(round(min(part * expected, LARGEST * size)) for part in (1.0, 0.5, 1.5, 0.25))
    first, *others = (doubts.drop(count) for count in counts)
    ordered = [
        *(doubts.soften() if "soft" in accepted else []),
        *doubts.prune(Cure("drop", doubts.labels, np.arange(size))),
        first,
        doubts.relabel(0.5 * expected),
        *others[:2],
        *([weight(doubts.wrong, doubts.labels)] if "weight" in accepted else []),
        doubts.relabel(expected),
        *others[2:],
    ]
    return _different([cure for cure in ordered if cure.how not in ("drop", "relabel") or len(cure.changed)])


def _different(cures: list[Cure]) -> list[Cure]:
    """The first of those that do the same."""
    first: dict[bytes, Cure] = {}
    for cure in cures:
        first.setdefault(cure.digest, cure)
    return list(first.values())
