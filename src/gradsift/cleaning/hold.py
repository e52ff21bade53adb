"""Which samples are flagged: those with the highest scores, or as large a share of every group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradsift.errors import SettingError


def flag(scores: np.ndarray, count: int, groups: np.ndarray | None = None, *, seed: int = 0) -> np.ndarray:
    """Flags the samples with the highest scores.

    With groups, each of them loses the same share of its samples, its own highest scores, so that what is kept is made up
    of the groups as before. What one group has too few wrong labels for, it pays with right samples, and what another has
    too many of stays: see docs/benchmark.md for the price.

    Args:
        scores: Shape (n,); high = detrimental, NaN last. Among equal scores those to flag are drawn at random.
        count: How many, from 0 to n.
        groups: Group of each sample, such as its given class, shape (n,): numbers, strings, or objects, which are told
            apart by their strings.
        seed: Seed of the draw among equal scores.

    Returns:
        Shape (n,), boolean, true ``count`` times. Group g with n_g samples has ``count n_g / n`` of them, rounded by
        largest remainders; of groups with equal remainders the one whose next sample scores higher is rounded up.

    Raises:
        SettingError: There are fewer samples than ``count``, or not one group a sample.
    """
    size = len(scores)
    if not 0 <= count <= size:
        raise SettingError(f"of {size} samples from 0 to {size} can be flagged; given {count}")
    if groups is None:
        return _highest(scores, count, seed)
    order = np.lexsort((np.random.default_rng(seed).permutation(size), -scores))
    flagged = np.zeros(size, dtype=bool)
    member = _numbers(groups, size)
    sizes = np.bincount(member)
    by_group = order[np.argsort(member[order], kind="stable")]
    first = np.cumsum(sizes) - sizes
    own, remainder = np.divmod(count * sizes, max(1, size))
    following = scores[by_group[np.minimum(first + own, size - 1)]]
    own[np.lexsort((-following, -remainder))[: count - own.sum()]] += 1
    flagged[by_group] = np.arange(size) - np.repeat(first, sizes) < np.repeat(own, sizes)
    return flagged


def _highest(scores: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Flags the highest scores, NaN last; of equal ones those that a permutation puts first."""
    size = len(scores)
    if not count or np.isnan(scores).any():
        order = np.lexsort((np.random.default_rng(seed).permutation(size), -scores))
        return np.isin(np.arange(size), order[:count])
    cut = np.partition(scores, size - count)[size - count]
    flagged: np.ndarray = scores > cut
    tied, left = np.flatnonzero(scores == cut), count - int(flagged.sum())
    if left < len(tied):
        tied = tied[np.argsort(np.random.default_rng(seed).permutation(size)[tied])[:left]]
    flagged[tied] = True
    return flagged


def crossed(columns: Sequence[np.ndarray], size: int) -> np.ndarray | None:
    """One group for each combination of values.

    Args:
        columns: Groups by different things, such as given class and sex, each of shape (n,), as for :func:`flag`.
        size: Number of samples n.

    Returns:
        Group numbers, shape (n,); ``None`` without columns.

    Raises:
        SettingError: A column has another shape.
    """
    codes = np.zeros(size, dtype=np.int64)
    for column in columns:
        codes = _numbers(codes * size + _numbers(column, size), size)
    return codes if len(columns) else None


def _numbers(groups: np.ndarray, size: int) -> np.ndarray:
    """Groups as numbers from 0 in the order of their values, shape (n,)."""
    groups = np.asarray(groups)
    if groups.shape != (size,):
        raise SettingError(f"groups are one value for each of {size} samples, given shape {groups.shape}")
    if groups.dtype == object:
        groups = groups.astype(str)  # objects, such as None among strings, need not have an order
    return np.unique(groups, return_inverse=True)[1]
