"""The rows of the benchmark: one a device, model, measure and job; a newer one replaces an older one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Row = dict[str, Any]
RESULTS = Path(os.environ.get("GRADSIFT_RESULTS") or Path(__file__).resolve().parents[1] / "results")
ROWS = RESULTS / "speed.jsonl"


def key(row: Row) -> tuple[str, ...]:
    return tuple(row[name] for name in ("device", "model", "measure", "peer", "job"))


def merged(old: Iterable[Row], new: Iterable[Row]) -> list[Row]:
    """Old and new rows, the newest of each key, in the order in which keys first came."""
    found: dict[tuple[str, ...], Row] = {}
    for row in [*old, *new]:
        found[key(row)] = row
    return list(found.values())


def read(path: Path = ROWS) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def write(new: Iterable[Row], path: Path = ROWS) -> None:
    """Puts rows into the file."""
    lines = [json.dumps(row) for row in merged(read(path), new)]
    part = path.with_suffix(".part")
    part.write_text("\n".join(lines) + "\n")
    part.replace(path)
