"""Some batches of an audit, and what all of them will take."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import Any

import numpy as np
from scipy import optimize, stats
from torch import Tensor
from torch.utils._pytree import tree_flatten

from gradsift.data import Samples
from gradsift.data.batch import Batch
from gradsift.gradients import Batcher
from gradsift.gradients.batches import on_batch
from gradsift.gradients.batching import is_out_of_memory
from gradsift.preparation import Preparation
from gradsift.store.collect import ReadAhead, reduce_batch

BUDGET = 4.0
"""Seconds that the batches may take."""
READING = 1.5
"""Seconds for reading samples whose lengths differ, to know how long the longest is and how much all hold."""
FEWEST, PRECISE = 4, 0.05
"""No more batches run once there are so many warm ones, and the total is known within this share."""
FEWEST_UNLIKE = 32
"""The same where batches differ in weight: oneDNN keeps the kernels that it has made for each shape, up to 1,024, so
what the process holds grows over the first dozens of batches."""
KEPT = 2048
"""Rows that are kept, or up to one batch more."""


class Seconds:
    """Seconds of all batches from those of some, ``a n + b w + c w^2 / n`` with a, b, c >= 0.

    A batch of n samples that are padded to the longest weighs w, n times the longest one's numbers: layers cost in
    proportion to it, attention by its square. The first batch that runs is cold; what it takes beyond is paid once.

    Args:
        size: Samples of the data set.
        sizes: Samples of the batches whose weight is known, which may be some of all.
        weights: Their weights.

    Attributes:
        alike: Whether all samples weigh the same.
        places: Batches that have run.
        seconds: What they took.
    """

    def __init__(self, size: int, sizes: np.ndarray, weights: np.ndarray) -> None:
        self._size, self._sizes = size, sizes.astype(np.float64)
        relative = weights * (sizes.sum() / weights.sum())
        self.alike = np.allclose(relative, sizes)
        columns = [self._sizes] if self.alike else [self._sizes, relative, relative**2 / sizes]
        self._columns = np.stack(columns, axis=1)
        self.places: list[int] = []
        self.seconds: list[float] = []

    def add(self, place: int, seconds: float) -> None:
        """Takes what one batch took.

        Args:
            place: Its place among the sizes.
            seconds: Its seconds.
        """
        self.places.append(place)
        self.seconds.append(seconds)

    @property
    def probed(self) -> int:
        """Samples that have run."""
        return int(self._sizes[self.places].sum())

    @property
    def whole(self) -> bool:
        """Whether all samples have."""
        return self.probed == self._size

    @property
    def total(self) -> float:
        """Seconds of all samples."""
        if self.whole:
            return sum(self.seconds)
        each = self._fit[0]
        cold = max(0.0, self.seconds[0] - float(each[self.places[0]]))
        return float(each.sum()) * self._size / float(self._sizes.sum()) + cold

    @property
    def unsure(self) -> float:
        """Half of the 95 % interval of the total, as a share of it."""
        count, known = len(self.seconds) - 1, len(self._sizes)
        if self.whole or count < 2:
            return 0.0 if self.whole else 0.5
        each, freedom = self._fit
        error = float(np.square(self.seconds[1:] - each[self.places[1:]]).sum() / freedom / count) ** 0.5
        left_out = max(0.0, 1 - float(self._sizes.sum()) / self._size)
        spread = float(each.std()) * math.sqrt(left_out / known)
        return math.hypot(float(stats.t.ppf(0.975, freedom)) * error, 1.96 * spread) / float(each.mean())

    @property
    def _fit(self) -> tuple[np.ndarray, int]:
        """Predicted seconds of every known batch, and degrees of freedom that are left."""
        places, seconds = self.places[1:] or self.places, self.seconds[1:] or self.seconds
        found = optimize.lsq_linear(self._columns[places], seconds, bounds=(0, np.inf), method="bvls").x
        return self._columns @ found, max(1, len(places) - int((found > 0).sum()))


def run_batches(
    ready: Preparation, batcher: Batcher, shard_size: int, *, overlap: bool
) -> tuple[Seconds, dict[str, np.ndarray], int]:
    """Runs batches of the audit, spread over their weights, until the total is known or the time is used up.

    Args:
        ready: What the audit would begin with.
        batcher: The batch size; halved where memory runs out.
        shard_size: Samples a shard.
        overlap: Whether the audit would read ahead.

    Returns:
        Seconds; rows of statistics as shards hold them; the batch size that fits.
    """
    samples, size = ready.samples, len(ready.samples)
    starts = [
        start
        for shard in range(0, size, shard_size)
        for start in range(shard, min(shard + shard_size, size), batcher.size)
    ]
    stops = [min(start + batcher.size, after) for start, after in zip(starts, [*starts[1:], size], strict=True)]
    batches, weights = _weighed(samples, list(zip(starts, stops, strict=True)))
    seconds = Seconds(size, np.array([stop - start for start, stop in batches]), weights)
    by_weight = np.argsort(weights, kind="stable")
    # The heaviest one comes last: it takes the most memory, on top of what the others have left behind.
    last = [int(by_weight[-1])]
    order = [place for place in by_weight[_spread(len(batches))].tolist() if place not in last] + last
    fewest = FEWEST if seconds.alike else FEWEST_UNLIKE
    kept: list[dict[str, np.ndarray]] = []

    def reduce(positions: np.ndarray, batch: Batch) -> dict[str, np.ndarray]:
        return reduce_batch(ready.gradients, ready.task, batch, positions)

    began = before = time.perf_counter()
    with ReadAhead(samples, ready.gradients.parameters, on=overlap) as reader:
        while order:
            place, *order = order
            following = np.arange(*batches[order[0]]) if order else None
            try:
                arrays = on_batch(reduce, partial(reader.batch, following=following), np.arange(*batches[place]))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                batcher.shrink(error)
                return run_batches(ready, batcher, shard_size, overlap=overlap)
            now = time.perf_counter()
            if seconds.probed < KEPT:
                kept.append(arrays)
            seconds.add(place, now - before)
            before = now
            if order and ((len(seconds.places) > fewest and seconds.unsure < PRECISE) or now - began > BUDGET):
                order = [] if seconds.alike else last
    return seconds, {name: np.concatenate([part[name] for part in kept]) for name in kept[0]}, batcher.size


def _weighed(samples: Samples, batches: list[tuple[int, int]]) -> tuple[list[tuple[int, int]], np.ndarray]:
    """Batches with their weights: all of them where samples are alike, else as many as are read in a while."""
    alike = np.array([stop - start for start, stop in batches])
    if samples.arrays is not None:
        return batches, alike
    known: list[tuple[int, int]] = []
    weights: list[int] = []
    seen: set[int] = set()
    began = time.perf_counter()
    for place in _spread(len(batches)):
        each = [_weight(samples.sample(position)) for position in range(*batches[place])]
        known.append(batches[place])
        weights.append(len(each) * max(each))
        seen |= set(each)
        if len(seen) == 1 and len(known) == min(2, len(batches)):
            return batches, alike
        if time.perf_counter() - began > READING:
            break
    return known, np.array(weights)


def _weight(sample: Any) -> int:
    """How many numbers, or letters, a sample holds."""
    leaves = tree_flatten(sample)[0]
    sizes = [leaf.numel() if isinstance(leaf, Tensor) else getattr(leaf, "size", None) for leaf in leaves]
    return sum(
        size if isinstance(size, int) else len(leaf) if isinstance(leaf, str) else 1
        for size, leaf in zip(sizes, leaves, strict=True)
    )


def _spread(count: int) -> list[int]:
    """Numbers below a count, each once, in an order that is spread evenly wherever it ends; 4,096 of many.

    Fractions of multiples of the golden ratio are.
    """
    golden = np.arange(1, 50 + 8 * min(count, 4096)) * (math.sqrt(5) - 1) / 2 % 1
    return list(dict.fromkeys((golden * count).astype(int).tolist()))[:4096]
