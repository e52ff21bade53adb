"""The simulation of a hundred million samples, with times that are measured here."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from frame.rows import RESULTS

from gradsift.engines import Ray, Share
from gradsift.engines.ray_pool import Pool
from gradsift.plan.workers import best_shard_size, paying_workers
from gradsift.progress import Bar
from scale.processes import finished
from scale.simulation import World, simulate

SAMPLES = 100_000_000
WORKERS = (10, 100, 1_000, 10_000)
PATH = RESULTS / "scale_scheduling.jsonl"
SIZES = (256, 2048, 16_384)
NETWORKS = {"images": "a small network on images of 32 x 32", "texts": "an encoder like MiniLM on texts of 64 tokens"}
TEXTS = 1_024
"""Texts of the real run; a text takes as long as hundreds of images."""


def measured(data: str, size: int) -> dict[str, Any]:
    """Computing of real shards, one after the other in one process.

    Args:
        data: One of :data:`NETWORKS`.
        size: Samples of the real run.
    """
    shard = 500 if data == "images" else 64
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        result = finished("timed", run, "--size", size, "--shard-size", shard, "--data", data, "--no-findings")
    seconds = sorted(result["shards"][1:])  # the first one warms up
    median = seconds[len(seconds) // 2]
    warm_up = max(0.0, result["shards"][0] - median)
    return {"sample_seconds": median / shard, "spread": [one / median for one in seconds], "warm_up": warm_up}


def message_seconds(shards: int = 3_000) -> float:
    """Seconds of the driver's computing for each call, by the engine's own pool with shards that take no time."""
    import ray

    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=40)
    pool = Pool(Ray(workers=2), _Nothing(), shards)
    began = time.process_time()
    pool.fill(Bar("calls", shards, "shards", show=False))
    spent = time.process_time() - began
    pool.close()
    ray.shutdown()
    return spent / pool.calls


class _Nothing:
    """A stage that does nothing; it says that a shard takes a minute, so that each lease is a single shard."""

    def setup(self) -> None:
        """Nothing."""

    def run(self, shards: Sequence[int], *, show_progress: bool = False) -> Share:
        """Nothing."""
        return Share("nobody", len(shards), len(shards), len(shards), 60.0 * len(shards), 0.0, 1)


def rows(given: argparse.Namespace) -> list[dict[str, Any]]:
    """One row of what was measured for each network, and one a simulation.

    Args:
        given: ``size`` of the real runs, ``start``, ``most_shards``, ``keep_real``.
    """
    found = measured_before() if given.keep_real else []
    if not found:
        message = message_seconds()
        print(f"{message * 1e3:.3f} ms a call", flush=True)
        for data, name in NETWORKS.items():
            row = {"part": "measured", "data": data, "network": name, "message": message}
            found.append(row | measured(data, given.size if data == "images" else TEXTS))
            print({key: value for key, value in found[-1].items() if key != "spread"}, flush=True)
    return found + [row for real in found for row in _simulated(real, given)]


def measured_before() -> list[dict[str, Any]]:
    """The rows of what was measured, from an earlier run."""
    known = [json.loads(line) for line in PATH.read_text().splitlines()]
    return [row for row in known if row["part"] == "measured"]


def world_of(real: dict[str, Any], start: float) -> World:
    """One worker in a world with times that were measured.

    Args:
        real: A row of :func:`measured_before`.
        start: Seconds in which a worker loads.
    """
    return World(SAMPLES, 1, 2048, real["sample_seconds"], tuple(real["spread"]), start=start, message=real["message"])


def _simulated(real: dict[str, Any], given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    base = world_of(real, given.start)
    pays = paying_workers(given.start, SAMPLES * base.sample_seconds)
    for workers in sorted({*WORKERS, pays}):
        best = best_shard_size(SAMPLES, workers)
        for size in sorted({best, *SIZES}):
            if SAMPLES / size > given.most_shards:
                continue
            row: dict[str, Any] = {"part": "scheduling", "network": real["network"], "workers": workers}
            row |= {"shard_size": size, "planned": size == best, "pays": workers == pays, "start": given.start}
            row |= simulate(replace(base, workers=workers, shard_size=size))
            print(row, flush=True)
            yield row
