"""What an audit takes on many workers: how large shards should be, how long it lasts, what it costs."""

from __future__ import annotations

from dataclasses import dataclass

SHARDS_OF_A_WORKER = 200
"""At the end a worker waits for others as long as a shard takes: with so many shards a worker that is 1 % of the time."""
MOST_SHARDS = 250_000
"""The manifest has an entry a shard: so many take the driver about 1 GiB; measured in docs/scale.md."""
LARGEST, SMALLEST = 2048, 16
LOADING = 0.03
"""Most of its time that a worker may load, where workers pay; with what waiting costs, 95 % is left for the passes."""


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
        paying_workers: Up to so many spend 95 % of their time in passes; on more, loading takes a larger share.
    """

    workers: int
    shard_size: int
    seconds: float
    device_hours: float
    utilisation: float
    cost: float | None
    paying_workers: int


def best_shard_size(samples: int, workers: int) -> int:
    """The shard size at which the end of the run leaves few workers idle, and the manifest stays small.

    Args:
        samples: Number of samples.
        workers: Number of workers.

    Returns:
        Samples a shard, from 16 to 2048.
    """
    by_end, by_manifest = samples / (workers * SHARDS_OF_A_WORKER), samples / MOST_SHARDS
    return max(SMALLEST, min(LARGEST, round(max(by_end, by_manifest))))


def paying_workers(begin: float, passes: float) -> int:
    """How many workers pay: on more, too much of the time that is paid for goes into loading.

    Args:
        begin: Seconds to load and check, on each worker.
        passes: Seconds of all passes in one process.

    Returns:
        At least one.
    """
    return max(1, int(passes * LOADING / ((1 - LOADING) * max(begin, 1e-9))))


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
    size = best_shard_size(samples, workers)
    shards = -(-samples // size)
    longest = -(-shards // workers) * passes / shards  # the worker with most shards
    seconds = begin + longest + end
    hours = (workers * (begin + longest) + end) / 3600
    used = passes / (3600 * hours) if hours else 1.0
    cost = None if price is None else price * hours
    return OnWorkers(workers, size, seconds, hours, used, cost, paying_workers(begin, passes))
