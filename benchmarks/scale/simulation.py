"""Simulates the driver and its workers. Which shards a worker gets is decided by the engine's own code."""

from __future__ import annotations

import heapq
import random
from bisect import bisect
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, count

from gradsift.engines.leases import Leases
from gradsift.engines.ray_pool import IN_FLIGHT

FAILURES_PER_HOUR = 0.01
"""Of each worker: one death in 100 hours, about what preemptible machines have. Fixed before any run."""
RESTART = 60.0
"""Seconds until a new worker stands in the place of a dead one, beside its start. Fixed as well."""


@dataclass(frozen=True)
class World:
    """What a simulation runs in.

    Attributes:
        samples: Number of samples.
        workers: Number of workers.
        shard_size: Samples a shard.
        sample_seconds: Seconds of a sample on a worker.
        spread: Seconds of real shards over their median.
        start: Seconds in which a worker loads.
        message: Seconds of the driver for each call.
        failures: Deaths of a worker in an hour.
    """

    samples: int
    workers: int
    shard_size: int
    sample_seconds: float
    spread: tuple[float, ...]
    start: float
    message: float
    failures: float = FAILURES_PER_HOUR


class Simulation:
    """One run of a world.

    Args:
        world: The world.
        seed: Of the draws.
    """

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.draw = world, random.Random(seed)
        self.leases = Leases(-(-world.samples // world.shard_size), world.workers)
        self.waiting = [deque[tuple[float, range]]() for _ in range(world.workers)]
        self.running: list[range | None] = [None] * world.workers
        self.loaded = [False] * world.workers
        self.early: dict[int, None] = {}  # workers that hold a lease and have not loaded yet
        self.whole = set[int]()  # shards of lost leases that were finished before
        self.driver = self.busy = self.useful = self.last = 0.0  # driver: until when it is busy
        self.leased = self.deaths = 0
        self.events: list[tuple[float, int, Callable[[float], None]]] = []
        self.counter = count()

    def run(self) -> dict[str, float]:
        """Runs it to its end.

        Returns:
            ``seconds`` from begin to end, ``utilisation`` of all workers in them, ``after_start`` of them, ``driver`` busy,
            ``leases`` and ``deaths``.
        """
        for worker in range(self.world.workers):
            self.start(worker, 0.0)
        for worker in range(self.world.workers):
            if lease := self.leases.take():
                self.lend(worker, lease, 0.0)
                self.early[worker] = None
        while self.events:
            now, _, happens = heapq.heappop(self.events)
            happens(now)
        total = self.world.workers * self.last
        return {
            "seconds": self.last,
            "utilisation": self.useful / total,
            "after_start": self.useful / max(total - self.world.workers * self.world.start, 1e-9),
            "driver": self.busy / self.last,
            "leases": self.leased,
            "deaths": self.deaths,
        }

    def at(self, time: float, happens: Callable[[float], None]) -> None:
        """Something will happen."""
        heapq.heappush(self.events, (time, next(self.counter), happens))

    def call(self, now: float) -> float:
        """The driver makes a call, which it does one after the other; gives when it has done so."""
        self.driver = max(self.driver, now) + self.world.message
        self.busy += self.world.message
        return self.driver

    def start(self, worker: int, now: float) -> None:
        """A worker comes, and loads."""
        self.at(self.call(now) + self.world.start, partial(self.load, worker))

    def load(self, worker: int, now: float) -> None:
        """A worker has loaded."""
        self.loaded[worker] = True
        self.early.pop(worker, None)
        self.give(worker, now)

    def give(self, worker: int, now: float) -> None:
        """Gives a worker leases, where some are left, and lets it begin."""
        while True:
            has = len(self.waiting[worker]) + (self.running[worker] is not None)
            lease = self.leases.take(ahead=has > 0) if has < IN_FLIGHT else range(0)
            if not lease:
                break
            self.lend(worker, lease, now)
        if not self.waiting[worker] and self.running[worker] is None and self.early:
            other, _ = self.early.popitem()
            self.lend(worker, self.waiting[other].popleft()[1], now)
        if self.running[worker] is None and self.waiting[worker]:
            self.begin(worker, now)

    def lend(self, worker: int, lease: range, now: float) -> None:
        """Hands a lease to a worker."""
        self.leased += 1
        self.waiting[worker].append((self.call(now), lease))

    def begin(self, worker: int, now: float) -> None:
        """A worker begins the lease that waits; it is settled when the lease ends, or when the worker dies of something."""
        given, lease = self.waiting[worker].popleft()
        begins, self.running[worker] = max(given, now), lease
        usual = self.world.shard_size * self.world.sample_seconds
        factors = self.draw.choices(self.world.spread, k=len(lease))
        shards = [usual * factor * (shard not in self.whole) for shard, factor in zip(lease, factors, strict=True)]
        ends = list(accumulate(shards))
        dies = self.draw.expovariate(self.world.failures / 3600) if self.world.failures else float("inf")
        if ends[-1] <= dies:
            self.useful += ends[-1]
            self.at(begins + ends[-1], partial(self.fill, worker, ends[-1]))
            return
        done = bisect(ends, dies)
        self.useful += sum(shards[:done])
        self.whole.update(lease[:done])
        self.at(begins + dies, partial(self.lose, worker))

    def fill(self, worker: int, seconds: float, now: float) -> None:
        """A lease is filled."""
        lease, self.running[worker], self.last = self.running[worker] or range(0), None, max(self.last, now)
        self.leases.learn(len(lease), seconds)
        self.give(worker, now)

    def lose(self, worker: int, now: float) -> None:
        """A worker has died: its leases go back, to whoever is idle or to the one that comes in its place."""
        self.deaths += 1
        for lease in (self.running[worker] or range(0), *(lease for _, lease in self.waiting[worker])):
            self.leases.give_back(lease)
        self.waiting[worker].clear()
        self.running[worker], self.loaded[worker] = None, False
        for other, loaded in enumerate(self.loaded):
            if loaded:
                self.give(other, now)
        self.at(now + RESTART, partial(self.start, worker))


def simulate(world: World, seed: int = 0) -> dict[str, float]:
    """Runs a world to its end.

    Args:
        world: The world.
        seed: Of the draws.

    Returns:
        As :meth:`Simulation.run`.
    """
    return Simulation(world, seed).run()
