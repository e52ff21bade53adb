"""Real runs of Ray beside what the simulation says of them."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from frame.rows import Rows

from scale.processes import finished
from scale.scheduling import measured, measured_before, world_of
from scale.simulation import simulate

SHARD = 500
WORKERS = (1, 2)
ROWS = Rows("scale_reality.jsonl", ("workers", "samples", "turn"))


def rows(given: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a run, in seconds of computing, as other work runs on the machine; rows that are there are kept.

    In each turn a sample is timed in one process, then one worker and two workers run. Of loading, the first batch of each
    worker is counted, which the passes hold.

    Args:
        given: ``size`` and ``rounds`` of the real runs.
    """
    known = next(row for row in measured_before() if row["data"] == "images")
    for turn in range(given.rounds):
        left = [workers for workers in WORKERS if not ROWS.have(workers=workers, samples=given.size, turn=turn)]
        if not left:
            continue
        times = known | measured("images", given.size)
        for workers in left:
            row = {"part": "reality", "workers": workers, "samples": given.size, "turn": turn}
            row |= {"real": _real(workers, given.size), "simulated": _simulated(times, workers, given.size)}
            print(row, flush=True)
            ROWS.add(row)
    return ROWS.read()


def _real(workers: int, samples: int) -> float:
    """Seconds that the busiest of Ray's workers computes."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        result = finished("ray", run, "--size", samples, "--shard-size", SHARD, "--workers", workers, "--no-findings")
    return max(share["cpu_seconds"] for share in result["timing"]["workers"])


def _simulated(times: dict[str, Any], workers: int, samples: int) -> float:
    """Seconds that the simulation says, with no failures."""
    world = world_of(times, times["warm_up"])
    return simulate(replace(world, samples=samples, workers=workers, shard_size=SHARD, failures=0.0))["seconds"]
