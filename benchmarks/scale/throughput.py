"""Samples a second of Ray's actors against one process, on the same cores, turn by turn."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from scale.processes import finished

SIZE, ROUNDS, CORES = 100_000, 3, 2


def rows(given: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a run: the seconds of the passes, and how many of them the actors needed to start.

    Args:
        given: ``size``, ``rounds``.
    """
    found = []
    for turn in range(given.rounds):
        order = ["local", "ray", "one worker"] if turn % 2 == 0 else ["one worker", "ray", "local"]
        for engine in order:
            with tempfile.TemporaryDirectory() as folder:
                workers = 1 if engine == "one worker" else CORES
                result = finished(
                    "local" if engine == "local" else "ray", Path(folder) / "run", "--size", given.size,
                    "--workers", workers, threads=CORES if engine == "local" else 1,
                )  # fmt: skip
            timing = result["timing"]
            passes = timing["seconds"]["gradients"]
            shares = timing["workers"]
            busy = max(share["seconds"] for share in shares)
            computed = sum(share["cpu_seconds"] for share in shares)
            found.append(
                {
                    "part": "throughput", "engine": engine, "samples": given.size, "turn": turn, "workers": workers,
                    "passes": passes, "busy": busy, "cpu": computed, "driver_cpu": result["cpu"],
                }
            )  # fmt: skip
            print(
                f"{engine}: {given.size / passes:,.0f} samples/s, {given.size / busy:,.0f} without the start",
                flush=True,
            )
    return found
