"""Defaults of every kind of task, by planted errors: average precision of the default and of baselines on one model.

    python benchmarks/kinds --data DIR                     # every regime and seed that is missing, then the page
    python benchmarks/kinds --data DIR --kinds token --seeds 2
    python benchmarks/kinds --write                        # docs/defaults.md, from the rows alone

``--data`` (or ``$GRADSIFT_DATA``) holds the data sets. Rows are keyed by regime, seed and method; what is there is not made
again. Seeds from 0 on; constants were chosen on seeds from 100 on, of the regimes that say so.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
sys.path[0] = str(HERE.parent)  # modules are imported as kinds.<module> and quality.<module>

from quality.rows import add, machine, read  # noqa: E402

from kinds.methods import rows_of  # noqa: E402
from kinds.page import KEY, ROWS, write  # noqa: E402
from kinds.regimes import REGIMES  # noqa: E402


def run(name: str, seed: int, data: Path) -> None:
    """All rows of one draw of a regime, where they are missing."""
    if any(row["regime"] == name and row["seed"] == seed for row in read(ROWS)):
        return
    started, regime = time.perf_counter(), REGIMES[name]
    rows = rows_of(regime.load(data, seed), regime.kind, seed)
    about = {"regime": name, "seed": seed, "seconds": time.perf_counter() - started, "machine": machine()}
    add(ROWS, [about | row for row in rows], KEY)
    words = ", ".join(f"{row['method']} {row['ap_samples']:.3f}" for row in rows)
    print(f"{time.strftime('%H:%M:%S')} {name} seed {seed}: {words}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("GRADSIFT_DATA"))
    parser.add_argument("--regimes", nargs="+", choices=list(REGIMES), metavar="REGIME", default=list(REGIMES))
    parser.add_argument("--kinds", nargs="+", choices=("value", "multilabel", "token"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="only write docs/defaults.md from the rows")
    arguments = parser.parse_args()
    if not arguments.write:
        if arguments.data is None:
            parser.error("--data is needed")
        torch.set_num_threads(arguments.threads)
        for seed in range(arguments.seeds):
            for name in arguments.regimes:
                if arguments.kinds is None or REGIMES[name].kind in arguments.kinds:
                    run(name, seed, Path(arguments.data))
    write()


if __name__ == "__main__":
    main()
