"""Defaults of every kind of task, by planted errors: average precision of the default and of baselines on one model.

    python benchmarks/kinds --data DIR                     # every regime and seed that is missing, then the page
    python benchmarks/kinds --data DIR --kinds token --seeds 0,1
    python benchmarks/kinds --data DIR --kinds pair --cache DIR
    python benchmarks/kinds --write                        # docs/defaults.md, from the rows alone

``--data`` (or ``$GRADSIFT_DATA``) holds the data sets. Rows are keyed by regime, seed and method; what is there is not made
again. Seeds from 0 on; constants were chosen on seeds from 100 on, of the regimes that say so.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[0] = str(HERE.parent)  # modules are imported as kinds.<module> and frame.<module>

from frame.command import parser_of, run_seeds  # noqa: E402
from frame.rows import machine  # noqa: E402

from kinds import condition_sets, methods, pairs, task_draw  # noqa: E402
from kinds.page import CLASS_ROWS, PAIR_ROWS, ROWS, STRUCTURED_ROWS, write  # noqa: E402
from kinds.regimes import COPIES, OF_CLASSES, REGIMES, STRANGE  # noqa: E402
from kinds.structured_regimes import OF_TASKS, STRUCTURED  # noqa: E402


def run(name: str, seed: int, data: Path, cache: Path) -> None:
    """All rows of one draw of a regime, where they are missing."""
    started, regime = time.perf_counter(), REGIMES[name]
    of_pairs = regime.kind == "pair"
    of_classes = regime.kind in OF_CLASSES
    results = PAIR_ROWS if of_pairs else CLASS_ROWS if of_classes or regime.kind in (STRANGE, COPIES) else ROWS
    results = STRUCTURED_ROWS if name in STRUCTURED else results
    if results.have(regime=name, seed=seed):
        return
    if of_pairs:
        rows = pairs.rows_of(regime.load(data, cache, seed), regime.kind, seed)
    elif regime.kind in (STRANGE, COPIES):
        rows = condition_sets.picture_rows(regime.load(data, seed), seed)
    elif of_classes or name in STRUCTURED:
        rows = task_draw.rows_of(regime.load(cache if regime.kind == "series" else data, seed), seed)
    else:
        rows = methods.rows_of(regime.load(data, seed), regime.kind, seed)
    about = {"regime": name, "seed": seed, "seconds": time.perf_counter() - started, "machine": machine()}
    results.add(*(about | row for row in rows))
    words = ", ".join(f"{row['method']} {row['ap_samples']:.3f}" for row in rows)
    print(f"{time.strftime('%H:%M:%S')} {name} seed {seed}: {words}", flush=True)


def run_seed(asked: argparse.Namespace, seed: int) -> None:
    """What is missing of a seed."""
    for name in asked.regimes:
        if asked.kinds is None or REGIMES[name].kind in asked.kinds:
            run(name, seed, asked.data, asked.cache)


if __name__ == "__main__":
    parser = parser_of(__doc__, seeds=5)
    parser.add_argument("--regimes", nargs="+", choices=list(REGIMES), metavar="REGIME", default=list(REGIMES))
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=("value", "multilabel", "token", "pair", "chat", *OF_CLASSES, STRANGE, COPIES, *OF_TASKS),
    )
    parser.add_argument(
        "--cache", type=Path, default=Path("cache"), help="folder of frozen features, and of the wheel of aeon"
    )
    run_seeds(parser, run_seed, write)
