"""Which shards a worker gets next: long runs of neighbours while much is left, short ones at the end.

This is guided self-scheduling (Polychronopoulos and Kuck, 1987) within two bounds, both of which follow from what the
driver can do: it answers a thousand times a second at best.
"""

from __future__ import annotations

from collections import deque

PROMPT = 100
"""Leases a second that all workers together ask for while much is left: progress is seen, and the driver is idle."""
BUSY = 1000
"""Leases a second that they ask for at most, at the end, where leases become short."""
SHARE = 3
"""A lease is at most one in so many of the shards that are left for each worker."""
UNKNOWN = 10
"""Before the first answer a lease holds at most one shard for every so many workers."""


class Leases:
    """The shards that are left, handed out as leases.

    Example:
        >>> leases = Leases(shards=4, workers=2)
        >>> leases.take(), leases.take(), len(leases)
        (range(0, 1), range(1, 2), 2)

    Args:
        shards: Number of shards.
        workers: Number of workers.
    """

    def __init__(self, shards: int, workers: int) -> None:
        self._left, self._again, self._workers = range(shards), deque[int](), workers
        self._seconds, self._computed = 0.0, 0

    def __len__(self) -> int:
        """Number of shards that are left."""
        return len(self._left) + len(self._again)

    def take(self, *, ahead: bool = False) -> range:
        """The next lease.

        Args:
            ahead: Whether it shall wait behind another lease of the same worker. None does where there may be too few for
                all, so that nobody is idle while one waits.

        Returns:
            Neighbouring shards; empty where there are none.
        """
        count = self._count()
        if ahead and len(self) <= self._workers * count:
            return range(0)
        if self._again:
            shard = self._again.popleft()
            return range(shard, shard + 1)
        lease, self._left = self._left[:count], self._left[count:]
        return lease

    def give_back(self, lease: range) -> None:
        """Takes back what a worker did not finish: it goes first, one by one, so that a shard that kills workers is found.

        Args:
            lease: The lease; shards of it that are whole already cost the next worker a look.
        """
        self._again.extend(lease)

    def learn(self, shards: int, seconds: float) -> None:
        """Learns how long shards take, from which the length of the next leases follows.

        Args:
            shards: How many were computed.
            seconds: How long it took one worker.
        """
        self._computed += shards
        self._seconds += seconds

    def _count(self) -> int:
        """Shards of the next lease."""
        guided = len(self._left) / (SHARE * self._workers)
        if not self._computed:
            return max(1, int(min(guided, self._workers / UNKNOWN)))
        pace = max(self._seconds / self._computed, 1e-6)
        least, most = (self._workers / (answers * pace) for answers in (BUSY, PROMPT))
        return max(1, int(max(least, min(guided, most))))
