"""Samples that training never drew: the final model speaks for them, on the scale of those that were drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from gradsift.store import ArrayMatrix
from gradsift.trajectory.trajectory import Trajectory


def unseen(trajectory: Trajectory) -> np.ndarray:
    """Positions of samples that lack a statistic at every checkpoint, as a weighted sampler may leave them out.

    Args:
        trajectory: What was recorded.

    Returns:
        The positions, in order.
    """
    never = [~np.isfinite(values).any(axis=0) for values in trajectory.statistics.values()]
    if trajectory.predictions is not None:
        never.append(~np.isfinite(trajectory.predictions[:, 0]))
    return np.flatnonzero(np.any(never, axis=0))


def completed(trajectory: Trajectory, final: Mapping[str, np.ndarray], predictions: ArrayMatrix | None) -> Trajectory:
    """Fills in what was never recorded of some samples.

    A sample's statistic of the final model is replaced by the mean along training at the same quantile: with the samples
    that were drawn sorted by the final model's statistic, and their means along training sorted, the one is read off the
    other. So the order among the samples is the final model's, and the scale is that of training. Predicted probabilities
    are those of the final model as they are. A sample that was never trained on is fitted less, so it stands somewhat
    higher than it would have.

    Args:
        trajectory: What was recorded.
        final: Statistics of the final model, each of shape (n,); ``loss`` stands in for those that it lacks.
        predictions: Its predicted probabilities, shape (n, K).

    Returns:
        The trajectory with the estimates at its last checkpoint; the same one where nothing is missing.
    """
    missing = unseen(trajectory)
    if not len(missing) or len(missing) == trajectory.size:
        return trajectory
    statistics = {
        name: _filled(values, final.get(name, -final["loss"] if name == "margin" else final["loss"]))
        for name, values in trajectory.statistics.items()
    }
    means = trajectory.predictions
    if means is not None and predictions is not None:
        rows = np.flatnonzero(~np.isfinite(means[:, 0]))
        means = np.array(means)
        means[rows] = predictions.rows(rows)
    return replace(trajectory, statistics=statistics, predictions=means)


def _filled(values: np.ndarray, final: np.ndarray) -> np.ndarray:
    seen = np.isfinite(values).any(axis=0)
    if seen.all() or not seen.any():
        return values
    means = np.nanmean(values[:, seen], axis=0, dtype=np.float64)
    filled = np.array(values)
    filled[-1, ~seen] = np.interp(final[~seen], np.sort(final[seen]), np.sort(means))
    return filled


def told(count: int, size: int) -> str:
    """What is said of them.

    Args:
        count: How many there are.
        size: Number of samples.

    Returns:
        A warning in whole sentences.
    """
    return (
        f"{count} of {size} samples were never drawn in training (a weighted sampler, or a limit of batches). Their scores "
        "along training are estimated from the final model, on the scale of the other samples, and are likely too high. "
        "Record with passes='eval' to measure them."
    )
