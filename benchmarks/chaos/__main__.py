"""Attacks everything that gradsift writes and reads, and counts what holds.

    python benchmarks/chaos                                # all attacks: rows in benchmarks/results/chaos_*.parquet
    python benchmarks/chaos --attack kills --count 60      # some of one attack, printed alone
    python benchmarks/chaos --small                        # a handful of each attack, as make test runs it
    python benchmarks/chaos --write                        # docs/reliability.md, from the rows alone

With ``--count`` rows are printed, and kept only with ``--keep``; ``--jobs`` attempts run beside each other.
"""

from __future__ import annotations

import argparse
import collections
import importlib
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: children are forked, and share the cores
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ |= {"HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "NO_COLOR": "1", "COLUMNS": "200"}
sys.path[0] = str(Path(__file__).resolve().parent.parent)  # modules are imported as chaos.<module>

from chaos import page  # noqa: E402
from chaos.results import ATTACKS, keep  # noqa: E402
from chaos.stage import Row, Stage  # noqa: E402

SMALL = {
    "kills": 6,
    "pairs": 3,
    "flips": 150,
    "damaged": 2,
    "full_disk": 3,
    "inputs": 16,
    "conventions": 8,
    "identity": 8,
}
SMALL_JOBS = ("audit csv, all layers", "trim parquet", "Recorder.save over an older save")


def run(name: str, stage: Stage, count: int | None) -> list[Row]:
    """Runs one attack and counts what failed.

    Args:
        name: Its name.
        stage: Where.
        count: How many attempts; the attack's own number where left out.
    """
    module = importlib.import_module(f"chaos.{name}")
    started = time.monotonic()
    rows = module.attack(stage, module.COUNT if count is None else count)
    outcomes = collections.Counter(row["outcome"] for row in rows)
    failed = [row for row in rows if row["failed"]]
    words = ", ".join(f"{times} {outcome}" for outcome, times in outcomes.most_common())
    print(f"{name}: {len(rows)} tried, {len(failed)} failed in {time.monotonic() - started:.0f} s: {words}", flush=True)
    return rows


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attack", nargs="+", choices=[*ATTACKS, "all"], default=["all"])
    parser.add_argument("--small", action="store_true", help="a handful of each attack on a few commands")
    parser.add_argument("--count", type=int, help="attempts of each attack")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", action="store_true", help="keep rows although they are few")
    parser.add_argument("--results", type=Path, help="folder of the rows instead of benchmarks/results")
    parser.add_argument("--write", action="store_true", help="write the page from the rows, and attack nothing")
    arguments = parser.parse_args()
    if arguments.write:
        page.write()
        return
    from chaos import preloaded  # noqa: F401

    names = ATTACKS if "all" in arguments.attack else arguments.attack
    failed = 0
    with tempfile.TemporaryDirectory(prefix="gradsift-chaos-") as scratch:
        stage = Stage(Path(scratch).resolve(), arguments.seed, arguments.jobs, SMALL_JOBS if arguments.small else None)
        for name in names:
            rows = run(name, stage, SMALL[name] if arguments.small else arguments.count)
            failed += sum(row["failed"] for row in rows)
            if arguments.keep or arguments.results or (arguments.count is None and not arguments.small):
                keep(name, arguments.seed, rows, arguments.results)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
