"""Simulates the driver and its workers, with times and failure rates that are fixed beforehand and measured here."""

from __future__ import annotations

import argparse
import heapq
import json
import os
import random
import tempfile
import time
from collections import deque
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from frame.rows import RESULTS

from gradsift.engines.on_ray import IN_FLIGHT
from gradsift.plan.workers import best_shard_size
from scale.processes import finished

SAMPLES = 100_000_000
WORKERS = (10, 100, 1_000, 10_000)
FAILURES_PER_HOUR = 0.01
"""Of each worker: one death in 100 hours, about what preemptible machines have. Fixed before any run."""
RESTART = 60.0
"""Seconds until a new worker stands in the place of a dead one, beside its start. Fixed as well."""
PATH = RESULTS / "scale_scheduling.jsonl"
SIZES = (64, 256, 2048, 16_384)


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
        message: Seconds of the driver for each shard.
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


def simulate(world: World, seed: int = 0) -> dict[str, float]:
    """Runs a world to its end.

    Args:
        world: The world.
        seed: Of the draws.

    Returns:
        ``seconds`` from begin to end, ``utilisation`` of all workers in them, ``after_start`` of them, ``driver`` busy.
    """
    draw = random.Random(seed)
    left = -(-world.samples // world.shard_size)
    again = 0
    waiting = [deque[float]() for _ in range(world.workers)]
    free = [world.start] * world.workers  # when the worker can begin
    driver, useful, busy, last = 0.0, 0.0, 0.0, 0.0
    events: list[tuple[float, int, bool]] = []

    def give(worker: int, now: float) -> None:
        """The driver answers; it does one thing at a time."""
        nonlocal driver, left, busy
        if left:
            left -= 1
            driver = max(driver, now) + world.message
            busy += world.message
            waiting[worker].append(driver)

    def begin(worker: int) -> None:
        nonlocal useful, again
        if not waiting[worker]:
            return
        at = max(free[worker], waiting[worker].popleft())
        takes = world.shard_size * world.sample_seconds * draw.choice(world.spread)
        dies = draw.expovariate(world.failures / 3600) if world.failures else float("inf")
        if dies < takes:
            again += 1
            free[worker] = at + dies + RESTART + world.start
            heapq.heappush(events, (at + dies, worker, False))
        else:
            useful += takes
            free[worker] = at + takes
            heapq.heappush(events, (at + takes, worker, True))

    for worker in range(world.workers):
        for _ in range(IN_FLIGHT):
            give(worker, 0.0)
        begin(worker)
    while events:
        now, worker, done = heapq.heappop(events)
        last = max(last, now)
        if not done:
            left += 1
        give(worker, now)
        begin(worker)
    return {
        "seconds": last,
        "utilisation": useful / (world.workers * last),
        "after_start": useful / (world.workers * max(last - world.start, 1e-9)),
        "driver": busy / last,
        "again": again,
    }


def measured(size: int, message: float | None = None) -> dict[str, Any]:
    """Times of real shards, one worker's start, and the driver's time for each message of Ray.

    Args:
        size: Samples of the real run.
        message: The driver's time, where it was measured before.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        result = finished("local", run, "--size", size, "--shard-size", 500)
        written = sorted(path.stat().st_mtime for path in run.glob("gradients/*/*/loss.npy"))
    shards = sorted(after - before for before, after in pairwise(written))
    median = shards[len(shards) // 2]
    passes = result["timing"]["workers"][0]["cpu_seconds"]
    return {
        "sample_seconds": passes / size,
        "spread": [one / median for one in shards],
        "message": message or message_seconds(),
    }


def message_seconds(calls: int = 2_000) -> float:
    """Seconds of computing of the driver for each call of an actor, with two calls in flight at each of two actors."""
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=40)
    remote: Any = ray.remote(_Nothing)
    actors = [remote.remote() for _ in range(2)]
    ray.get([actor.run.remote([0]) for actor in actors])
    pending = {actor.run.remote([0]): actor for actor in actors for _ in range(IN_FLIGHT)}
    began = time.process_time()
    for _ in range(calls):
        (call,), _ = ray.wait(list(pending), num_returns=1)
        ray.get(call)
        actor = pending.pop(call)
        pending[actor.run.remote([0])] = actor
    spent = time.process_time() - began
    ray.shutdown()
    return spent / calls


class _Nothing:
    def run(self, shards: list[int]) -> list[int]:
        return shards


def rows(given: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a simulation, and one a comparison with a real run.

    Args:
        given: ``size`` of the real runs.
    """
    known = [json.loads(line) for line in PATH.read_text().splitlines()] if given.keep_real else []
    known = [row for row in known if row["part"] == "reality"]
    real = measured(given.size, known[0]["message"] if known else None)
    base = World(
        SAMPLES, 1, 2048, real["sample_seconds"], tuple(real["spread"]), start=given.start, message=real["message"]
    )
    print({name: value for name, value in real.items() if name != "spread"}, flush=True)
    about = {"sample_seconds": base.sample_seconds, "message": base.message, "start": base.start}
    found = known or [_against_reality(base, workers, given.size) | about for workers in (1, 2)]
    for slower, name in ((1.0, "this network"), (100.0, "one that takes 100 times as long")):
        for workers in WORKERS:
            world = replace(base, workers=workers, sample_seconds=base.sample_seconds * slower)
            best = best_shard_size(SAMPLES, workers, world.sample_seconds)
            for size in sorted({best, *SIZES}):
                if SAMPLES / size > given.most_shards:
                    continue
                row = simulate(replace(world, shard_size=size))
                row |= {"part": "scheduling", "network": name, "workers": workers, "shard_size": size}
                row |= about | {"planned": size == best, "sample_seconds": world.sample_seconds}
                print(row, flush=True)
                found.append(row)
    return found


def _against_reality(base: World, workers: int, size: int) -> dict[str, Any]:
    """A real run of Ray beside what the simulation says of it; both in seconds of computing, as other work runs here."""
    with tempfile.TemporaryDirectory() as folder:
        result = finished("ray", Path(folder) / "run", "--size", size, "--shard-size", 500, "--workers", workers)
    took = max(share["cpu_seconds"] for share in result["timing"]["workers"])
    world = replace(base, samples=size, workers=workers, shard_size=500, start=0.0, failures=0.0)
    row = {
        "part": "reality",
        "workers": workers,
        "samples": size,
        "real": took,
        "simulated": simulate(world)["seconds"],
    }
    print(row, flush=True)
    return row | {"cores": os.cpu_count()}
