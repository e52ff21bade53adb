"""The removal curve: what training gives as more and more of the lowest-ranked samples are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradsift.data import Samples
from gradsift.errors import DataError, SettingError
from gradsift.evaluation.statistics import Estimate, estimate
from gradsift.evaluation.trainings import Metric
from gradsift.evidence import TrainFunction, UserTraining
from gradsift.progress import progress


@dataclass(frozen=True)
class RemovalCurve:
    """The metric after removing shares of the samples, by score and at random, with the same seeds.

    Attributes:
        shares: Shares removed; the first is 0.
        by_score: Metric of every share and seed, shape (shares, seeds).
        at_random: The same for random samples.
    """

    shares: tuple[float, ...]
    by_score: np.ndarray
    at_random: np.ndarray

    def against_random(self) -> list[Estimate]:
        """Paired difference to the random control at each share, with its interval."""
        return [estimate(one - other) for one, other in zip(self.by_score, self.at_random, strict=True)]

    def against_nothing(self) -> list[Estimate]:
        """Paired difference to training on all samples, at each share."""
        return [estimate(one - self.by_score[0]) for one in self.by_score]

    def rows(self) -> list[dict[str, str]]:
        """One row a share, as text, for tables."""
        return [
            {
                "removed": f"{100 * share:g} %",
                "by score": str(estimate(self.by_score[place])),
                "at random": str(estimate(self.at_random[place])),
                "difference": str(self.against_random()[place]),
            }
            for place, share in enumerate(self.shares)
        ]


def removal_curve(
    train_fn: TrainFunction,
    train_set: Any,
    scores: np.ndarray,
    test_set: Any,
    metric: Metric,
    *,
    shares: Sequence[float] = (0.025, 0.05, 0.1, 0.2),
    seeds: int = 5,
    show_progress: bool = True,
) -> RemovalCurve:
    """Retrains without the highest-scored samples at several shares, beside random controls of the same size.

    Args:
        train_fn: Trains from scratch, ``train_fn(dataset, seed=seed)``.
        train_set: The data set.
        scores: Shape (n,); high = detrimental, as in the table; of influence its negative.
        test_set: Handed to the metric.
        metric: ``metric(model, test_set) -> float``.
        shares: Shares to remove, rising, between 0 and 1.
        seeds: How many trainings each point is the mean of; each draws its own random samples.
        show_progress: Whether to show a progress bar.

    Returns:
        The curve, with nothing removed as its first point.

    Raises:
        DataError: There is not one score a sample.
        SettingError: The shares are not rising, or outside (0, 1), or there are no seeds.
    """
    samples = Samples(train_set)
    if np.shape(scores) != (len(samples),):
        raise DataError(f"scores has shape {np.shape(scores)} for {len(samples)} samples")
    if not shares or not all(0 < share < 1 for share in shares) or list(shares) != sorted(set(shares)):
        raise SettingError(f"shares rise and lie between 0 and 1; given {tuple(shares)}")
    if seeds < 1:
        raise SettingError(f"removal_curve needs at least one seed; given {seeds}")
    size, order = len(samples), np.argsort(-np.asarray(scores), kind="stable")
    (by_score, at_random), training = np.zeros((2, len(shares) + 1, seeds)), UserTraining(train_fn)
    with progress("retraining", (2 * len(shares) + 1) * seeds, unit="trainings", show=show_progress) as bar:
        for seed in range(seeds):
            model = training.model(train_set, f"on all samples with seed={seed}", seed=seed)
            by_score[0, seed] = at_random[0, seed] = metric(model, test_set)
            bar.advance()
            shuffled = np.random.default_rng([seed, 50]).permutation(size)
            for place, share in enumerate(shares, start=1):
                count = max(1, round(share * size))
                for into, removed in ((by_score, order[:count]), (at_random, shuffled[:count])):
                    kept = np.setdiff1d(np.arange(size), removed)
                    model = training.model(samples.keep(kept), f"without {count} samples, with seed={seed}", seed=seed)
                    into[place, seed] = metric(model, test_set)
                    bar.advance()
    return RemovalCurve((0.0, *map(float, shares)), by_score, at_random)
