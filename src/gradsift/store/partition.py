"""The shards of a data set: runs of positions, all of one size but the last."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Partition:
    """Which samples each shard holds. It follows from two numbers, so no list of rows is ever kept or sent.

    Example:
        >>> partition = Partition(samples=10, size=4)
        >>> len(partition), partition.lengths, partition.rows(2)
        (3, [4, 4, 2], range(8, 10))

    Attributes:
        samples: Number of samples.
        size: Samples a shard; the last one may hold fewer.
    """

    samples: int
    size: int

    def __len__(self) -> int:
        """Number of shards."""
        return -(-self.samples // self.size)

    @property
    def lengths(self) -> list[int]:
        """Samples of each shard."""
        return [len(self.rows(shard)) for shard in range(len(self))]

    def rows(self, shard: int) -> range:
        """The positions of a shard.

        Args:
            shard: Its number.

        Returns:
            Positions in the data set.
        """
        return range(shard * self.size, min((shard + 1) * self.size, self.samples))

    def positions(self, shard: int) -> np.ndarray:
        """The positions of a shard.

        Args:
            shard: Its number.

        Returns:
            Shape (samples of the shard,).
        """
        rows = self.rows(shard)
        return np.arange(rows.start, rows.stop)

    def count(self, shards: Iterable[int]) -> int:
        """How many samples some shards hold.

        Args:
            shards: Their numbers.

        Returns:
            Number of samples.
        """
        return sum(len(self.rows(shard)) for shard in shards)
