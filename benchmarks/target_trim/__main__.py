"""Does trimming toward fairness or robustness help, and what does it cost? Adult and German credit, with controls.

    python benchmarks/target_trim --data DIR                  # everything, ten seeds: about an hour on one busy core
    python benchmarks/target_trim --data DIR --part evasion   # one of: adult, steps, german, german-age, mlp, evasion,
                                                                 # evasion-bank
    python benchmarks/target_trim --write                     # docs/results-targets.md, from the rows

``--data`` (or ``$GRADSIFT_DATA``) holds ``tabular_adult/``, ``tabular_german_credit/`` and ``tabular_bank_marketing/``. A
classifier is trained, the influence of its training rows on a target over *validation* rows is taken, the rows of lowest
influence are removed, the classifier is trained again, and gaps and accuracy are measured on *test* rows that nothing else
has seen. Every seed draws its own split; random trims of the same size are the control. Rows that are there are not made
again.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # modules are imported as target_trim.<module>

from frame.command import parser_of, run_seeds  # noqa: E402
from frame.rows import machine  # noqa: E402

from target_trim import page  # noqa: E402
from target_trim.evasion import run_evasion  # noqa: E402
from target_trim.page import EVASION_PARTS, PARTS, ROWS, SEEDS  # noqa: E402
from target_trim.trims import run_steps, run_trims  # noqa: E402


def run_seed(asked: argparse.Namespace, seed: int) -> None:
    """Every part that is missing of a seed."""
    for part in [asked.part] if asked.part else PARTS:
        if ROWS.have(part=part, seed=seed):
            continue
        started = time.perf_counter()
        run = run_evasion if part in EVASION_PARTS else run_steps if part == "steps" else run_trims
        row = {"part": part, "seed": seed, "arms": run(asked.data, part, seed)}
        seconds = time.perf_counter() - started
        ROWS.add(row | {"seconds": seconds, "machine": machine()})
        print(f"{part}, seed {seed}: {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    parser = parser_of(__doc__, seeds=SEEDS, threads=None)
    parser.add_argument("--part", choices=PARTS, help="one part only")
    run_seeds(parser, run_seed, page.write)
