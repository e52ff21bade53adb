"""The honest benchmark of label-error detection, on 2 cores in the background, or with ``--full`` on a GPU's machine.

    python benchmarks/quality --data DIR                       # everything that is missing, five seeds
    python benchmarks/quality --data DIR --stage record        # trainings and recordings: runs/quality/, not committed
    python benchmarks/quality --data DIR --stage detect        # benchmarks/results/quality_detection.parquet
    python benchmarks/quality --data DIR --stage retrain       # benchmarks/results/quality_retraining.parquet
    python benchmarks/quality --data DIR --stage guard         # rare and right: benchmarks/results/quality_guard*.parquet
    python benchmarks/quality --data DIR --stage reasons       # reasons, suggestions: .../quality_reasons.parquet
    python benchmarks/quality --data DIR --stage cost          # the default along training: .../quality_cost.parquet
    python benchmarks/quality --data DIR --regimes fashion-pair-20 half-moons --seeds 2
    python benchmarks/quality --data DIR --full                # every budget and method; CIFAR-10N with 50,000 images
    python benchmarks/quality --write                          # docs/benchmark.md, from the rows alone

``--data`` (or ``$GRADSIFT_DATA``) holds the data sets. Every stage resumes: rows are keyed by regime, seed and method, and
what is there is not made again. The protocol is that of docs/protocol.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch

HERE = Path(__file__).resolve().parent
sys.path[0] = str(HERE.parent)  # modules are imported as quality.<module>

from quality.regimes import FULL, REGIMES  # noqa: E402

if TYPE_CHECKING:
    from quality.record import Record

EVERY = REGIMES | FULL
STAGES = ("record", "detect", "retrain", "guard", "reasons", "cost", "all")


def pairs(arguments: argparse.Namespace) -> list[tuple[str, int]]:
    """Regimes and seeds to run, seed by seed, so that every regime has its first seed first."""
    counts = {name: max(arguments.seeds, EVERY[name].seeds) for name in arguments.regimes}
    return [(name, seed) for seed in range(max(counts.values())) for name in counts if seed < counts[name]]


def record_all(arguments: argparse.Namespace) -> None:
    from quality.influence import ask_all
    from quality.record import record

    for name, seed in pairs(arguments):
        started = time.time()
        problem = EVERY[name].load(arguments.data, seed)
        recorded = record(problem, arguments.runs / name / str(seed), regime=name, seed=seed)
        ask_all(recorded, problem)
        say(name, seed, f"accuracy {recorded.about['test_accuracy'][-1]:.2f} %, {time.time() - started:.0f} s")


def records(arguments: argparse.Namespace) -> Iterator[tuple[str, int, Record]]:
    """Regimes, seeds and records, where there is a whole one."""
    from quality.retrain import record_at

    for name, seed in pairs(arguments):
        record = record_at(arguments.runs, name, seed)
        if record is not None:
            yield name, seed, record


def detect_all(arguments: argparse.Namespace) -> None:
    from quality.detect import detect

    for name, seed, record in records(arguments):
        say(name, seed, f"{detect(record, again=arguments.again)} rows")


def retrain_all(arguments: argparse.Namespace) -> None:
    from quality.retrain import REGIMES as RETRAINED
    from quality.retrain import retrain

    for name, seed, record in records(arguments):
        if arguments.full or name in RETRAINED:
            retrain(record, EVERY[name].load(arguments.data, seed), full=arguments.full)


def guard_everything(arguments: argparse.Namespace) -> None:
    from quality.guard import guard_all

    guard_all(arguments, pairs(arguments), priced=("posterior", "posterior_own_passes", "l2", "loss", "random"))


def reason_all(arguments: argparse.Namespace) -> None:
    from quality.reasons import reason_kinds, suggestions

    for seed in range(arguments.seeds):
        reason_kinds(arguments.data, arguments.runs, seed)
        say("planted-kinds", seed, "reasons")
    for _, _, record in records(arguments):
        suggestions(record)


def cost_everything(arguments: argparse.Namespace) -> None:
    from quality.cost import cost_all

    cost_all(arguments.data, arguments.runs)


def say(name: str, seed: int, words: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {name} seed {seed}: {words}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("GRADSIFT_DATA"))
    parser.add_argument("--runs", type=Path, default=HERE.parent.parent / "runs" / "quality", help="where records lie")
    parser.add_argument("--regimes", nargs="+", choices=list(EVERY), metavar="REGIME", help=", ".join(EVERY))
    parser.add_argument("--seeds", type=int, default=5, help="how many; half moons have at least 20")
    parser.add_argument("--stage", choices=STAGES, default="all")
    parser.add_argument("--full", action="store_true", help="every budget and method, CIFAR-10N with 50,000 images")
    parser.add_argument("--again", action="store_true", help="detect: rows that are there are made anew")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="only write docs/benchmark.md from the rows")
    arguments = parser.parse_args()
    if not arguments.write:
        if arguments.data is None:
            parser.error("--data is needed")
        arguments.data, arguments.regimes = Path(arguments.data), arguments.regimes or chosen(arguments.full)
        torch.set_num_threads(arguments.threads)
        stages = {"record": record_all, "detect": detect_all, "retrain": retrain_all, "guard": guard_everything,
                  "reasons": reason_all, "cost": cost_everything}  # fmt: skip
        for stage, run in stages.items():
            if arguments.stage in (stage, "all"):
                run(arguments)
    if arguments.write or arguments.stage == "all":
        from quality.page import write

        write()


def chosen(full: bool) -> list[str]:
    """The regimes of a size."""
    return [*FULL, *REGIMES] if full else list(REGIMES)


if __name__ == "__main__":
    main()
