"""Real runs of Ray beside what the simulation says of them."""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from scale.processes import finished
from scale.scheduling import measured, measured_before, world_of
from scale.simulation import simulate

SHARD = 500


def rows(given: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a number of workers; all in seconds of computing, as other work runs on the machine.

    In each turn a sample is timed in one process, then one worker and two workers run. Of loading, the first batch of each
    worker is counted, which the passes hold.

    Args:
        given: ``size`` and ``rounds`` of the real runs.
    """
    took: dict[int, list[float]] = {1: [], 2: []}
    simulated: dict[int, list[float]] = {1: [], 2: []}
    known = next(row for row in measured_before() if row["data"] == "images")
    for _ in range(given.rounds):
        real = known | measured("images", given.size)
        for workers in took:
            with tempfile.TemporaryDirectory() as folder:
                run = Path(folder) / "run"
                result = finished("ray", run, "--size", given.size, "--shard-size", SHARD, "--workers", workers)
            took[workers].append(max(share["cpu_seconds"] for share in result["timing"]["workers"]))
            world = replace(
                world_of(real, real["warm_up"]), samples=given.size, workers=workers, shard_size=SHARD, failures=0.0
            )
            simulated[workers].append(simulate(world)["seconds"])
            print(workers, took[workers][-1], simulated[workers][-1], flush=True)
    return [
        {
            "part": "reality", "workers": workers, "samples": given.size, "runs": took[workers],
            "real": statistics.median(took[workers]), "simulated": statistics.median(simulated[workers]),
            "ratio": statistics.median(s / r for s, r in zip(simulated[workers], took[workers], strict=True)),
        }
        for workers in took
    ]  # fmt: skip
