"""What an audit takes on many workers: how large shards should be, how long it lasts, what it costs."""

from __future__ import annotations

from dataclasses import dataclass

SHARDS_OF_A_WORKER = 200
"""At the end workers wait for the slowest two shards: with so many shards a worker that is 1 or 2 % of the time."""
MESSAGE = 0.001
"""Seconds of the driver for each shard; measured in docs/scale.md."""
DRIVER_LOAD = 0.5
"""Most of its time that the driver may be busy."""
LARGEST, SMALLEST = 2048, 16


@dataclass(frozen=True)
class OnWorkers:
    """The forecast for a number of workers.

    Attributes:
        workers: How many.
        shard_size: Samples a shard, the best for so many.
        seconds: From begin to end.
        device_hours: Of all workers, and of the one that scores.
        utilisation: Share of these in which passes run.
        cost: In the unit of the price; ``None`` where there is none.
    """

    workers: int
    shard_size: int
    seconds: float
    device_hours: float
    utilisation: float
    cost: float | None


def best_shard_size(samples: int, workers: int, sample_seconds: float) -> int:
    """The shard size at which neither the end of the run nor the driver leaves workers idle.

    Args:
        samples: Number of samples.
        workers: Number of workers.
        sample_seconds: Seconds of one sample on one worker.

    Returns:
        Samples a shard, from 16 to 2048; the lower bound by the driver stands above the upper one by the end.
    """
    by_end = samples / (workers * SHARDS_OF_A_WORKER)
    by_driver = workers * MESSAGE / (DRIVER_LOAD * sample_seconds)
    return max(SMALLEST, min(LARGEST, round(max(by_end, by_driver))))


def on_workers(
    samples: int,
    workers: int,
    *,
    begin: float,
    passes: float,
    end: float,
    price: float | None = None,
) -> OnWorkers:
    """Shares out what one process would take.

    Args:
        samples: Number of samples.
        workers: Number of workers.
        begin: Seconds to load and check, on each worker.
        passes: Seconds of all passes in one process.
        end: Seconds of scores and page, on one.
        price: Of one device for an hour.

    Returns:
        The forecast.
    """
    size = best_shard_size(samples, workers, passes / samples)
    shards = -(-samples // size)
    longest = -(-shards // workers) * passes / shards  # the worker with most shards
    seconds = begin + longest + end
    hours = (workers * (begin + longest) + end) / 3600
    used = passes / (3600 * hours) if hours else 1.0
    return OnWorkers(workers, size, seconds, hours, used, None if price is None else price * hours)
