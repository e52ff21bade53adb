"""What starting costs: imports and commands, each in a fresh process, beside Python's own start and torch's import.

    python benchmarks/startup.py --rounds 5      # docs/performance-start.md, too
    python benchmarks/startup.py --write

Seconds of computing (user and system), medians over rounds in which all take turns; a busy machine changes them little. The
first round, which fills the caches of files, does not count.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from frame.command import parser_of, run_once
from frame.page import machines, markdown_table, write_page
from frame.rows import Rows, machine

ROWS = Rows("startup.jsonl", key=("what", "machine"))
GOAL = 1.0
PLAIN, TORCH = "python", "import torch"
STARTS = {
    PLAIN: ["-c", "pass"],
    TORCH: ["-c", "import torch"],
    "import gradsift": ["-c", "import gradsift"],
    "gradsift --help": ["-m", "gradsift", "--help"],
    "gradsift show --help": ["-m", "gradsift", "show", "--help"],
    "gradsift show RUN": ["-m", "gradsift", "show", "RUN"],
    "gradsift.audit": ["-c", "import gradsift; gradsift.audit"],
}
WITH_TORCH = ("gradsift show --help", "gradsift show RUN", "gradsift.audit")
"""What needs torch, whose own import is taken off."""


def computing(arguments: list[str]) -> float:
    """Seconds that a process computes from start to end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def measure(asked: argparse.Namespace) -> None:
    """One row a start."""
    import gradsift

    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 200)
    probabilities = generator.dirichlet(np.ones(3), 200)
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        gradsift.audit_predictions(labels, probabilities, output=run, show_progress=False)
        for turn in range(asked.rounds + 1):
            for what, arguments in STARTS.items():
                spent = computing([str(run) if argument == "RUN" else argument for argument in arguments])
                if turn:
                    found.setdefault(what, []).append(spent)
    for what, spent in found.items():
        ROWS.add({"what": what, "seconds": float(np.median(spent)), "rounds": len(spent), "machine": machine("cpu", 1)})


def page() -> list[str]:
    """The page from the rows."""
    rows = ROWS.some()
    seconds = {row["what"]: row["seconds"] for row in rows}
    cells = []
    for what in STARTS:
        own = seconds[what] - seconds[TORCH if what in WITH_TORCH else PLAIN]
        verdict = "" if what in (PLAIN, TORCH) else "met" if own <= GOAL else "missed"
        beside = "" if what == PLAIN else f"{own:.2f}"
        cells.append((f"`{what}`", f"{seconds[what]:.2f}", beside, "torch" if what in WITH_TORCH else "", verdict))
    return [
        "# Speed of starting",
        "",
        "Written by `python benchmarks/startup.py --write` from `benchmarks/results/startup.jsonl`. Seconds that a fresh",
        "process computes, files in the system's cache. *Own*: less Python's start, and where PyTorch is needed less its",
        f"import; the goal is at most {GOAL:g} s. Public names are imported when first used, commands when called.",
        "",
        *markdown_table(("start", "seconds", "own", "less", ""), cells),
        "",
        "What is missed: a command that opens a run imports scikit-learn's estimators, from which detectors derive.",
        "",
        f"Medians of {min(row['rounds'] for row in rows)} rounds. Machine: {machines(rows)}.",
    ]


if __name__ == "__main__":
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    run_once(parser, measure, lambda: write_page("performance-start.md", page()))
