"""What influence is measured against: the same training without some samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from torch import nn

from gradsift.data import Samples
from gradsift.errors import DataError, SettingError
from gradsift.evaluation.statistics import Estimate, estimate
from gradsift.evidence import TrainFunction, UserTraining
from gradsift.progress import progress

Value = Callable[[nn.Module], Any]
"""From a trained model to the target's value: a number, or one for each target sample, shape (m,); small = good."""


def leave_one_out(
    train_fn: TrainFunction,
    train_set: Any,
    value: Value,
    *,
    positions: Sequence[int] | np.ndarray | None = None,
    seeds: int = 1,
    show_progress: bool = True,
) -> np.ndarray:
    """True influence: by how much the target's value rises when a sample is left out of training.

    ``I_j = mean_seeds value(train without j) - value(train)``. With a training that depends on its seed, one sample's
    effect drowns in the seeds' unless there are many of them; exact trainings (convex, to the optimum) need one.

    Args:
        train_fn: Trains from scratch, ``train_fn(dataset, seed=seed)``.
        train_set: The data set.
        value: The target's value at a model.
        positions: Which samples; all where left out.
        seeds: How many trainings each difference is the mean of.
        show_progress: Whether to show a progress bar.

    Returns:
        Shape (len(positions),), or (len(positions), m); positive = helpful.

    Raises:
        SettingError: There are no seeds, or positions outside of the data set.
    """
    if seeds < 1:
        raise SettingError("leave_one_out needs at least one seed")
    samples = Samples(train_set)
    chosen = np.arange(len(samples)) if positions is None else np.asarray(positions)
    if chosen.size and (chosen.dtype.kind not in "iu" or chosen.min() < 0 or chosen.max() >= len(samples)):
        raise SettingError(f"positions are whole numbers from 0 to {len(samples) - 1}; given {chosen[:10].tolist()}")
    training = UserTraining(train_fn)
    whole = [
        np.asarray(value(training.model(train_set, f"on all samples with seed={seed}", seed=seed)), dtype=np.float64)
        for seed in range(seeds)
    ]
    found = np.zeros((len(chosen), *whole[0].shape))
    with progress("leaving out", len(chosen) * seeds, unit="trainings", show=show_progress) as bar:
        for row, position in enumerate(chosen.tolist()):
            rest = samples.keep(np.delete(np.arange(len(samples)), position))
            for seed in range(seeds):
                model = training.model(rest, f"without the sample at position {position}, with seed={seed}", seed=seed)
                found[row] += (np.asarray(value(model)) - whole[seed]) / seeds
                bar.advance()
    return found


@dataclass(frozen=True)
class SubsetRetraining:
    """Trainings on random subsets of a data set.

    Attributes:
        kept: Which samples each training saw, shape (s, n), boolean.
        values: The target's values after each, shape (s, m).
    """

    kept: np.ndarray
    values: np.ndarray


def retrain_subsets(
    train_fn: TrainFunction,
    train_set: Any,
    value: Value,
    *,
    subsets: int = 50,
    share: float = 0.5,
    seed: int = 0,
    show_progress: bool = True,
) -> SubsetRetraining:
    """Trains on random subsets, for :func:`linear_datamodeling_score`.

    Args:
        train_fn: Trains from scratch, ``train_fn(dataset, seed=seed)``; each subset has its own seed.
        train_set: The data set.
        value: The target's value at a model; with one number for each target sample the score has an interval.
        subsets: How many.
        share: Share of the samples in each.
        seed: Seed of the subsets.
        show_progress: Whether to show a progress bar.

    Returns:
        The subsets and the values.

    Raises:
        SettingError: The share or the number of subsets is outside its range.
    """
    if not 0 < share < 1 or subsets < 3:
        raise SettingError(f"share lies between 0 and 1 and subsets is at least 3; given {share} and {subsets}")
    samples, generator = Samples(train_set), np.random.default_rng([seed, 40])
    size, training = len(samples), UserTraining(train_fn)
    kept, values = np.zeros((subsets, size), dtype=bool), []
    with progress("retraining on subsets", subsets, unit="trainings", show=show_progress) as bar:
        for row in range(subsets):
            chosen = np.sort(generator.choice(size, max(1, round(share * size)), replace=False))
            kept[row, chosen] = True
            model = training.model(samples.keep(chosen), f"on random subset {row}", seed=1000 * seed + row)
            values.append(np.atleast_1d(np.asarray(value(model), dtype=np.float64)))
            bar.advance()
    return SubsetRetraining(kept, np.stack(values))


def linear_datamodeling_score(influence: np.ndarray, retraining: SubsetRetraining) -> Estimate:
    """How well summed influence predicts what training on a subset gives (LDS; Park et al., ICML 2023).

    For every target sample the Spearman correlation, over the subsets, between the true value and the predicted one,
    ``- sum_{j kept} I_j``; their mean over target samples, with a Student-t interval.

    Args:
        influence: Shape (n, m), or (n,) for one target; positive = helpful.
        retraining: Trainings on subsets of the same samples, for the same targets.

    Returns:
        The estimate; 0 = no better than chance, 1 = the order of all subsets is right.

    Raises:
        DataError: The shapes do not belong together.
    """
    columns = influence.reshape(len(influence), -1)
    if retraining.kept.shape[1] != len(columns) or retraining.values.shape[1] != columns.shape[1]:
        raise DataError(
            f"influence of shape {influence.shape} for trainings on subsets of {retraining.kept.shape[1]} samples with "
            f"{retraining.values.shape[1]} targets: they belong to other data"
        )
    predicted = -(retraining.kept.astype(np.float64) @ columns)
    correlations = []
    for place in range(columns.shape[1]):
        constant = not np.ptp(predicted[:, place]) or not np.ptp(retraining.values[:, place])
        found = 0.0 if constant else float(spearmanr(predicted[:, place], retraining.values[:, place]).statistic)
        correlations.append(found)
    return estimate(correlations)
