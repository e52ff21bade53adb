"""What cures of wrong labels gain, with controls: trainings on the data as they are and after each cure.

    python benchmarks/gain --data DIR --cache DIR                  # every regime and arm that is missing
    python benchmarks/gain --data DIR --cache DIR --regimes images-worst --seeds 3 --arms "no change" "auto"
    python benchmarks/gain --write                                 # docs/results-gain.md, from the rows alone

``--data`` (or ``$GRADSIFT_DATA``) holds the data sets, ``--cache`` the features of pretrained networks (computed where they
are missing; see ``gain/features.py``) and finished folds. Rows are keyed by regime, seed and arm; what is there is not made
again. The protocol is that of docs/protocol.md: one recipe and seed for all arms, last epoch, no clean label read by any
method, test accuracy read last.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
sys.path[0] = str(HERE.parent)  # modules are imported as gain.<module> and quality.<module>

from frame.rows import RESULTS, add, machine, read  # noqa: E402

from gain.arms import Draw, chosen, cures, details  # noqa: E402
from gain.baselines import averaged_weights, early_learning, small_losses  # noqa: E402
from gain.regimes import EVERY, ON_GPU, REGIMES, reduced  # noqa: E402

ROWS = RESULTS / "gain.parquet"
KEY = ("regime", "seed", "arm")
SMALL = 96
"""Samples with ``--small``."""


def run(name: str, seed: int, arguments: argparse.Namespace) -> None:
    """All missing rows of one draw of a regime."""
    regime = EVERY[name]
    problem = regime.load(arguments.data, arguments.cache, seed)
    problem = reduced(problem, SMALL) if arguments.small else problem
    here = {"regime": name, "seed": seed, "key": problem.key}
    done = {row["arm"] for row in read(ROWS) if row.items() >= here.items()}
    draw = Draw(problem, seed, arguments.cache / "folds" / f"{name}-{seed}-{problem.key}", regime.kind == "frozen")
    arms: dict[str, Any] = {arm: _cured(draw, make) for arm, make in cures(draw)}
    arms["auto"] = lambda: chosen(draw)
    if draw.pretrained:
        arms["auto, heads choose"] = lambda: chosen(draw, trainings=0)
    trainings = {
        "averaged weights": averaged_weights,
        "small losses, true share": small_losses,
        "early-learning regularisation": early_learning,
    }
    arms |= {arm: lambda trained=trained: {"accuracy": trained(problem, seed)} for arm, trained in trainings.items()}
    for arm in arguments.arms or arms:
        if arm in done and not arguments.again:
            continue
        row_of = arms[arm]
        started = time.perf_counter()
        row = here | {"arm": arm, "wrong": float(problem.wrong.mean()), "samples": len(problem.given)} | row_of()
        row |= {"seconds": time.perf_counter() - started, "machine": machine()}
        add(ROWS, [row], KEY)
        print(f"{time.strftime('%H:%M:%S')} {name} seed {seed} {arm}: {row['accuracy']:.2f} %", flush=True)


def _cured(draw: Draw, make: Any) -> Any:
    def row() -> dict[str, Any]:
        chosen = make()
        return {"accuracy": draw.tested(chosen)} | details(draw, chosen)

    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("GRADSIFT_DATA"))
    parser.add_argument("--cache", type=Path, default=HERE.parent.parent / "runs" / "gain")
    parser.add_argument(
        "--regimes", nargs="+", choices=EVERY, metavar="REGIME", default=list(REGIMES),
        help=f"all but those that need a GPU, {', '.join(ON_GPU)}, where left out",
    )  # fmt: skip
    parser.add_argument("--arms", nargs="+", help="only these, in this order")
    parser.add_argument(
        "--small", action="store_true", help="some dozens of samples, one epoch: tries the arms; no page"
    )
    parser.add_argument("--seeds", type=int, help="at most so many")
    parser.add_argument("--again", action="store_true", help="makes the arms of --arms anew where rows are there")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="only write docs/results-gain.md from the rows")
    arguments = parser.parse_args()
    if not arguments.write:
        if arguments.data is None:
            parser.error("--data is needed")
        arguments.data = Path(arguments.data)
        torch.set_num_threads(arguments.threads)
        counts = {name: min(EVERY[name].seeds, arguments.seeds or 1000) for name in arguments.regimes}
        for seed in range(arguments.first, max(counts.values())):
            for name, count in counts.items():
                if seed < count:
                    run(name, seed, arguments)
    if not arguments.small:
        from gain.page import write

        write()


if __name__ == "__main__":
    main()
