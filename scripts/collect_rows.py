"""Puts rows that came back from another machine beside those in benchmarks/results; the newest of each key stays."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "src")]

from frame.rows import RESULTS, add, read  # noqa: E402

KEYS = {
    "speed.jsonl": ("device", "model", "measure", "peer", "job"),
    "whole_audit.jsonl": ("case", "layers", "size", "machine"),
    "gain.parquet": ("regime", "seed", "arm"),
}
"""File of rows to the columns that tell them apart."""


def main() -> None:
    """Reads the rows of the folder that is given, ``python scripts/collect_rows.py FOLDER``."""
    for name, key in KEYS.items():
        rows = read(Path(sys.argv[1]) / name)
        if rows:
            add(RESULTS / name, rows, key)
        print(f"{name}: {len(rows)} rows")


if __name__ == "__main__":
    main()
