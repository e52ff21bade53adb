"""What is wrong with a data set as a whole: rare classes, and an order that tells what a sample is."""

from __future__ import annotations

import numpy as np
from scipy.stats import binom, ks_2samp

from gradsift.detectors.neighbours import Neighbourhood, drawn

RARE = 0.1
"""A class is rare that holds less than this share of what it would hold among even classes."""
COMPARED = 5_000
"""Samples whose distance in the order to their neighbours is looked at."""
CHANCE = 1e-6
"""Probability by chance below which an order is told to matter, or a class to be fitted worse."""
NEAR = 0.05
"""Shift of the distribution of distances in the order below which it does not matter."""


def rare_classes(labels: np.ndarray, classes: int) -> dict[int, int]:
    """Classes with very few samples.

    Args:
        labels: Given labels, shape (n,).
        classes: Number of classes.

    Returns:
        Class to its number of samples, the rarest first; classes without any included.
    """
    counts = np.bincount(labels, minlength=classes)
    rare = np.flatnonzero(counts < RARE * len(labels) / len(counts))
    return {int(k): int(counts[k]) for k in rare[np.argsort(counts[rare], kind="stable")]}


def order_matters(neighbourhood: Neighbourhood, *, seed: int = 0) -> float | None:
    """Whether alike samples stand close to each other, as where a set was collected piece by piece.

    Args:
        neighbourhood: Nearest neighbours of all samples.
        seed: Seed of the draw of samples.

    Returns:
        How much more often neighbours stand close than others do: the largest difference of the two distributions of
        distances in the order; ``None`` where chance may have made it.
    """
    size = len(neighbourhood.numbers)
    own = drawn(size, COMPARED, seed)
    references = neighbourhood.references
    generator = np.random.default_rng(seed)
    near = np.abs(references[neighbourhood.numbers.rows(own)[:, :5]] - own[:, None])
    others = np.abs(generator.choice(references, near.shape) - own[:, None])
    compared = ks_2samp(near[:, 0], others[:, 0], alternative="greater")
    return float(compared.statistic) if compared.pvalue < CHANCE and compared.statistic > NEAR else None


def weak_classes(labels: np.ndarray, predicted: np.ndarray) -> dict[int, float]:
    """Classes that the model fits much worse than the others.

    Args:
        labels: Given labels, shape (n,).
        predicted: Predicted labels, shape (n,).

    Returns:
        Class to the share of its samples with their given label predicted, the worst first.
    """
    agree = labels == predicted
    counts, right = np.bincount(labels), np.bincount(labels[agree], minlength=labels.max() + 1)
    share = agree.mean()
    chance = binom.cdf(right, counts, share) * len(counts)
    weak = np.flatnonzero((counts > 0) & (right < 0.5 * share * counts) & (chance < CHANCE))
    shares = right[weak] / counts[weak]
    return {int(weak[k]): float(shares[k]) for k in np.argsort(shares, kind="stable")}
