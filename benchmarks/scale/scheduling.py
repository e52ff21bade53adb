"""The simulation with times that are measured here, and beside real runs of Ray."""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
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
        result = finished("timed", Path(folder) / "run", "--size", size, "--shard-size", shard, "--data", data)
    seconds = sorted(result["shards"][1:])  # the first one warms up
    median = seconds[len(seconds) // 2]
    return {"sample_seconds": median / shard, "spread": [one / median for one in seconds]}


def message_seconds(shards: int = 3_000) -> float:
    """Seconds of the driver's computing for each call, by the engine's own pool with shards that take no time."""
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=40)
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
    """One row a simulation, and one a comparison with a real run.

    Args:
        given: ``size`` and ``rounds`` of the real runs, ``start``, ``most_shards``.
    """
    message = message_seconds()
    print(f"{message * 1e3:.3f} ms a call", flush=True)
    found = []
    for data, name in NETWORKS.items():
        real = measured(data, given.size if data == "images" else TEXTS)
        base = World(
            SAMPLES, 1, 2048, real["sample_seconds"], tuple(real["spread"]), start=given.start, message=message
        )
        about = {"network": name, "sample_seconds": base.sample_seconds, "message": message, "start": base.start}
        print(about, flush=True)
        if data == "images":
            found += [_against_reality(base, workers, given.size, given.rounds) | about for workers in (1, 2)]
        pays = paying_workers(given.start, SAMPLES * base.sample_seconds)
        for workers in sorted({*WORKERS, pays}):
            best = best_shard_size(SAMPLES, workers)
            for size in sorted({best, *SIZES}):
                if SAMPLES / size > given.most_shards:
                    continue
                row = simulate(replace(base, workers=workers, shard_size=size))
                row |= {"part": "scheduling", "workers": workers, "shard_size": size, "planned": size == best}
                row |= about | {"pays": workers == pays}
                print(row, flush=True)
                found.append(row)
    return found


def _against_reality(base: World, workers: int, size: int, rounds: int) -> dict[str, Any]:
    """Real runs of Ray beside what the simulation says of them; both in seconds of computing, as other work runs here."""
    took = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            result = finished("ray", run, "--size", size, "--shard-size", 500, "--workers", workers)
        took.append(max(share["cpu_seconds"] for share in result["timing"]["workers"]))
    world = replace(base, samples=size, workers=workers, shard_size=500, start=0.0, failures=0.0)
    row = {
        "part": "reality", "workers": workers, "samples": size, "runs": took,
        "real": statistics.median(took), "simulated": simulate(world)["seconds"],
    }  # fmt: skip
    print(json.dumps(row), flush=True)
    return row
