"""Samples a second of Ray's actors against one process, on the same cores, turn by turn; rows that are there are kept."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from frame.rows import Rows

from scale.processes import finished

CORES = 2
ENGINES = ("local", "ray", "one worker")
ROWS = Rows("scale_throughput.jsonl", ("engine", "samples", "turn"))


def rows(given: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a run: the seconds of the passes, and how many of them the actors needed to start.

    Args:
        given: ``size``, ``rounds``.
    """
    for turn in range(given.rounds):
        for engine in ENGINES if turn % 2 == 0 else ENGINES[::-1]:
            if not ROWS.have(engine=engine, samples=given.size, turn=turn):
                ROWS.add(_of(engine, given.size) | {"turn": turn})
    return ROWS.read()


def _of(engine: str, size: int) -> dict[str, Any]:
    """One audit; findings beside labels come after the passes and are left out."""
    workers = 1 if engine == "one worker" else CORES
    with tempfile.TemporaryDirectory() as folder:
        result = finished(
            "local" if engine == "local" else "ray", Path(folder) / "run", "--size", size, "--workers", workers,
            "--no-findings", threads=CORES if engine == "local" else 1,
        )  # fmt: skip
    timing = result["timing"]
    passes, shares = timing["seconds"]["gradients"], timing["workers"]
    busy = max(share["seconds"] for share in shares)
    print(f"{engine}: {size / passes:,.0f} samples/s, {size / busy:,.0f} without the start", flush=True)
    return {
        "part": "throughput", "engine": engine, "samples": size, "workers": workers, "passes": passes, "busy": busy,
        "cpu": sum(share["cpu_seconds"] for share in shares), "driver_cpu": result["cpu"],
    }  # fmt: skip
