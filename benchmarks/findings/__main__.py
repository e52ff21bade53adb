"""Findings besides labels: near duplicates, overlap and outliers that were planted, against plain baselines.

    python benchmarks/findings --data DIR             # every regime and seed that is missing, then the page
    python benchmarks/findings --write                # docs/results-findings.md, from the rows alone

Seeds from 0 on; constants were chosen on seeds from 100 on, of the regimes that say so.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[0] = str(HERE.parent)  # modules are imported as findings.<module> and frame.<module>

from frame.command import parser_of, run_seeds  # noqa: E402
from frame.rows import machine  # noqa: E402

from findings.methods import rows_of  # noqa: E402
from findings.page import ROWS, write  # noqa: E402
from findings.regimes import REGIMES  # noqa: E402


def run_seed(asked: argparse.Namespace, seed: int) -> None:
    """What is missing of a seed."""
    for name in asked.regimes:
        if asked.tried or not ROWS.have(regime=name, seed=seed):
            started = time.perf_counter()
            rows = rows_of(REGIMES[name], asked.data, seed)
            about = {"regime": name, "seed": seed, "seconds": time.perf_counter() - started, "machine": machine()}
            if not asked.tried:
                ROWS.add(*(about | row for row in rows))
            words = ", ".join(f"{row['method']} {row['ap']:.3f}" for row in rows)
            told, right = rows[0].get("told"), rows[0].get("told_right")
            print(f"{name} seed {seed} ({about['seconds']:.0f} s): {words}; told {told}, right {right}", flush=True)


if __name__ == "__main__":
    parser = parser_of(__doc__, seeds=5)
    parser.add_argument("--regimes", nargs="+", choices=list(REGIMES), metavar="REGIME", default=list(REGIMES))
    parser.add_argument("--tried", action="store_true", help="only print: for choosing constants")
    run_seeds(parser, run_seed, write)
