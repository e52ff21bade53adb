"""Rows of results in parquet files; what is there is read back, so that every stage resumes."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from filelock import FileLock

RESULTS = Path(__file__).resolve().parent.parent / "results"
DETECTION = RESULTS / "quality_detection.parquet"
BUDGET = RESULTS / "quality_budget.parquet"
RETRAINING = RESULTS / "quality_retraining.parquet"
Row = dict[str, Any]


def read(path: Path) -> list[Row]:
    """All rows of a file; none where there is no file.

    Args:
        path: The file.

    Returns:
        The rows.
    """
    return pq.read_table(path).to_pylist() if path.exists() else []


def add(path: Path, new: Iterable[Row], key: tuple[str, ...]) -> None:
    """Puts rows into a file, in the place of older ones with the same key.

    Args:
        path: The file.
        new: The rows.
        key: Names of the columns that tell rows apart.
    """
    path.parent.mkdir(exist_ok=True)
    with FileLock(path.with_suffix(".lock")):  # stages may run beside each other
        merged = {tuple(row[name] for name in key): row for row in [*read(path), *new]}
        names = list(dict.fromkeys(name for row in merged.values() for name in row))
        rows = [{name: row.get(name) for name in names} for _, row in sorted(merged.items(), key=lambda item: item[0])]
        part = path.with_suffix(".part")
        pq.write_table(pa.Table.from_pylist(rows), part)
        part.rename(path)


def machine() -> str:
    """The machine's name, as it stands beside every figure."""
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    return f"{platform.machine()} CPU, {torch.get_num_threads()} thread(s), torch {torch.__version__}"
