"""What heads alone cost on frozen features: a linear head and a perceptron, cross-fitted fold by fold.

    python benchmarks/heads_cost.py --threads 2                      # 50,000 x 1,280 in ten classes, four folds
    python benchmarks/heads_cost.py --size 2000 --dimensions 64      # tries the benchmark
    python benchmarks/heads_cost.py --write                          # docs/performance-heads.md, from the rows

Features are made up: ten overlapping classes behind a ReLU, one label in five drawn anew. Each size runs twice, and both
must give the same bytes. Seconds of computing are of all threads together; a busy machine changes them less than those of
the clock.
"""

from __future__ import annotations

import argparse
import hashlib
import time

import numpy as np
from frame.command import parser_of, run_once
from frame.page import machines, markdown_table, write_page
from frame.rows import Row, Rows, machine

from gradsift.evidence.heads import PATIENCE, cross_fit_heads

ROWS = Rows("heads_cost.jsonl", key=("size", "dimensions", "machine"))
CLASSES, FOLDS, WRONG, RUNS = 10, 4, 0.2, 2
APART = 0.12
"""Standard deviation of the class means, in standard deviations of a feature."""
GOAL = 30.0
"""Seconds at most."""


def features_and_labels(size: int, dimensions: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, true and given labels."""
    generator = np.random.default_rng(0)
    means = APART * generator.standard_normal((CLASSES, dimensions), dtype=np.float32)
    true = generator.integers(0, CLASSES, size)
    features = generator.standard_normal((size, dimensions), dtype=np.float32)
    features += means[true]
    given = np.where(generator.random(size) < WRONG, generator.integers(0, CLASSES, size), true)
    return np.maximum(features, 0, out=features), true, given


def measure(asked: argparse.Namespace) -> None:
    """One row: the faster of the runs."""
    features, true, given = features_and_labels(asked.size, asked.dimensions)
    runs: list[Row] = []
    for _ in range(RUNS):
        clock, computing = time.perf_counter(), time.process_time()
        heads = cross_fit_heads(features, given, folds=FOLDS, seed=0, show_progress=False)
        runs.append({
            "seconds": time.perf_counter() - clock, "computing": time.process_time() - computing, "rounds": heads.rounds,
            "digest": hashlib.sha256(heads.predictions.tobytes()).hexdigest(),
            "accuracy": float((heads.predictions.argmax(axis=1) == true).mean()),
        })  # fmt: skip
    if len({run["digest"] for run in runs}) > 1:
        raise SystemExit("two runs with one seed gave different predictions")
    size = {"size": asked.size, "dimensions": asked.dimensions, "machine": machine("cpu", asked.threads)}
    ROWS.add(size | min(runs, key=lambda run: run["seconds"]))


HEAD = """# Speed of heads on frozen features

Written by `python benchmarks/heads_cost.py --write` from `benchmarks/results/heads_cost.jsonl`. A linear head and a
perceptron of 128 units are cross-fitted on made-up features of ten classes, one label in five drawn anew, in four folds:
what `cross_fit_heads` costs. *Rounds*: whole passes until the loss on held-out labels is lowest; four more are run, so
features that need more rounds cost more. *Computing*: seconds of all threads together. Other work ran on the machine
meanwhile, so the clock shows more than a quiet one would. The faster of two runs counts; both gave the same bytes.
*Accuracy*: of the predictions of unseen samples, by the true labels."""


def page() -> list[str]:
    """The page from the rows."""
    rows = ROWS.some()
    columns = ("samples", "features", "rounds, linear and perceptron", "by the clock (s)", "computing (s)",
               "computing, a round of both (s)", "accuracy", "goal: 30 s", "machine")  # fmt: skip
    cells = []
    for row in rows:
        run = np.mean([rounds + PATIENCE for rounds in row["rounds"].values()])
        by_computing = "met by computing, not by the clock" if row["computing"] <= GOAL else "missed"
        cells.append((
            f"{row['size']:,}", f"{row['dimensions']:,}", " and ".join(str(rounds) for rounds in row["rounds"].values()),
            f"{row['seconds']:.1f}", f"{row['computing']:.1f}", f"{row['computing'] / run:.1f}",
            f"{100 * row['accuracy']:.1f} %", "met" if row["seconds"] <= GOAL else by_computing, row["machine"],
        ))  # fmt: skip
    return [HEAD, "", *markdown_table(columns, cells), "", f"Machines: {machines(rows)}."]


if __name__ == "__main__":
    parser = parser_of(__doc__)
    parser.add_argument("--size", type=int, default=50_000, help="samples")
    parser.add_argument("--dimensions", type=int, default=1280, help="features of a sample")
    run_once(parser, measure, lambda: write_page("performance-heads.md", page()))
