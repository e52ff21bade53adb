"""Rows of results in a file; what is there is read back, so that every benchmark resumes."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from filelock import FileLock

RESULTS = Path(os.environ.get("GRADSIFT_RESULTS") or Path(__file__).resolve().parent.parent / "results")
"""``$GRADSIFT_RESULTS`` keeps the rows of another machine apart until they are put beside the others."""
Row = dict[str, Any]


def read(path: Path) -> list[Row]:
    """All rows of a file; none where there is no file.

    Args:
        path: A file that ends in ``.parquet``, or JSON lines.

    Returns:
        The rows.
    """
    if not path.exists():
        return []
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    return [json.loads(line) for line in path.read_text().splitlines()]


def add(path: Path, new: Iterable[Row], key: tuple[str, ...]) -> None:
    """Puts rows into a file, in the place of older ones with the same key; other processes may do so meanwhile.

    Args:
        path: The file. In Parquet rows are in the order of their keys, in JSON lines new ones come last.
        new: The rows.
        key: Names of the columns that tell rows apart; in JSON lines a row need not have all.
    """
    path.parent.mkdir(exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        merged = {json.dumps([row.get(name) for name in key]): row for row in [*read(path), *new]}
        part = path.with_suffix(".part")
        if path.suffix == ".parquet":
            names = list(dict.fromkeys(name for row in merged.values() for name in row))
            rows = sorted(merged.values(), key=lambda row: tuple(row[name] for name in key))
            pq.write_table(pa.Table.from_pylist([{name: row.get(name) for name in names} for row in rows]), part)
        else:
            part.write_text("".join(json.dumps(row) + "\n" for row in merged.values()))
        part.replace(path)


class Rows:
    """The rows of a benchmark.

    Args:
        name: File in ``benchmarks/results``, ``.jsonl`` or ``.parquet``.
        key: Names of the columns that tell rows apart.
    """

    def __init__(self, name: str, key: tuple[str, ...]) -> None:
        self.path, self.key = RESULTS / name, key

    def read(self) -> list[Row]:
        """All rows; none where there is no file."""
        return read(self.path)

    def some(self) -> list[Row]:
        """All rows; says how to make them where there are none."""
        rows = self.read()
        if not rows:
            raise SystemExit(f"there are no rows in {self.path}: run the benchmark without --write first")
        return rows

    def having(self, **values: Any) -> list[Row]:
        """The rows with certain values."""
        return [row for row in self.read() if all(row.get(name) == value for name, value in values.items())]

    def have(self, **values: Any) -> bool:
        """Whether there is a row with certain values."""
        return bool(self.having(**values))

    def add(self, *new: Row) -> None:
        """Puts rows into the file, in the place of older ones with the same key."""
        add(self.path, new, self.key)


def machine(device: str = "cuda", threads: int | None = None) -> str:
    """The machine's name, as it stands beside every figure.

    Args:
        device: What the benchmark has run on; a GPU counts where there is one.
        threads: Threads that it has used; PyTorch's number where left out.
    """
    if device.startswith("cuda") and torch.cuda.is_available():
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    return f"{platform.machine()} CPU, {threads or torch.get_num_threads()} thread(s), torch {torch.__version__}"
