"""Does the choice without clean labels pick well? Its pick's gain on clean test labels beside that of every candidate.

    python benchmarks/choice.py --data DIR --regime adult-class-10-30 --seeds 2     # regimes of benchmarks/quality
    python benchmarks/choice.py --features FILE.npz --label n_worse_label           # f, ft, yt, label and noisy labels
    python benchmarks/choice.py --write                                             # docs/results-choice.md, from the rows

Heads on features (for tables: their columns) are cross-fitted and give the posterior of a wrong label; candidates are
compared by ``gradsift.evaluation.choose`` on held-out samples with their given labels, and afterwards each one, and
dropping exactly the wrong labels, on clean test labels. Regimes and seeds that the rule was designed on stand in DESIGNED.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from frame.command import parser_of, run_seeds
from frame.page import write_page
from frame.rows import Rows

from gradsift.cleaning.cure import drop, none
from gradsift.detectors import WrongLabelPosterior
from gradsift.evaluation import choose
from gradsift.evaluation.candidates import cures_on_grid
from gradsift.evaluation.heads import HeadTrainer
from gradsift.evidence import cross_fit_heads, evidence_of_arrays

ROWS = Rows("choice.jsonl", key=("regime", "seed"))
DESIGNED = {
    **dict.fromkeys(("adult-symmetric-20", "bank-class-10-30"), (0, 1)),
    **dict.fromkeys(("adult-class-10-30", "bank-symmetric-20"), (0,)),
    "hausa-distant": (0, 1, 2),
    **dict.fromkeys(("n_worse_label", "n_aggre_label", "n_random_label1"), (0,)),
}
"""Regimes with the seeds on which the rule of the choice was designed."""


def of_regime(data: Path, name: str, seed: int) -> dict[str, np.ndarray]:
    """A draw of a regime of the quality benchmark."""
    from quality.regimes import REGIMES

    problem = REGIMES[name].load(data, seed)
    inputs, test = problem.inputs.numpy(), problem.test
    return {
        "f": inputs, "ft": test[0].numpy(), "yt": np.asarray(test[1]),
        "true": problem.true.astype(int), "given": problem.given.astype(int),
    }  # fmt: skip


def of_features(path: Path, label: str, seed: int, size: int) -> dict[str, np.ndarray]:
    """Stored features with human labels; a random part of them."""
    arrays = np.load(path)
    rows = np.sort(np.random.default_rng(seed).permutation(len(arrays["f"]))[:size])
    return {
        "f": arrays["f"][rows], "ft": arrays["ft"], "yt": arrays["yt"],
        "true": arrays["label"][rows].astype(int), "given": arrays[label][rows].astype(int),
    }  # fmt: skip


def measure(problem: dict[str, np.ndarray], seed: int) -> dict[str, Any]:
    """One row: what is chosen, and what every candidate gains on clean test labels."""
    started, given, true = time.perf_counter(), problem["given"], problem["true"]
    classes = int(max(given.max(), true.max(), problem["yt"].max())) + 1
    heads = cross_fit_heads(problem["f"], given, classes=classes, seed=seed, show_progress=False)
    evidence = evidence_of_arrays(
        given, heads.predictions, features=problem["f"], folds=heads.folds, provenance="out-of-fold"
    )
    posterior = WrongLabelPosterior().fit(evidence, given).true_class_probabilities(np.arange(len(given)))
    cures = cures_on_grid(1 - posterior[np.arange(len(given)), given], posterior, given)
    trainer = HeadTrainer(problem["f"], given, heads.folds, classes=classes, seed=seed)
    choice = choose(trainer, cures, given, heads.folds, trainings=33)
    seconds = time.perf_counter() - started
    wrong = (given != true).astype(float)
    everything = [none(given), *cures, drop(wrong, given, int(wrong.sum()))]
    right = [
        100 * (predicted.argmax(axis=1) == problem["yt"]).mean()
        for start in range(0, len(everything), 9)
        for predicted in trainer.predict(everything[start : start + 9], problem["ft"])
    ]
    gains = [float(value - right[0]) for value in right]
    picked = next((place for place, cure in enumerate(everything) if cure is choice.cure), 0)
    best = int(np.argmax(gains[:-1]))
    expected = choice.expected_gain
    return {
        "samples": len(given), "wrong": float(wrong.mean()), "verdict": choice.verdict, "pick": choice.cure.name,
        "gain": gains[picked], "best": everything[best].name, "best_gain": gains[best], "oracle_drop": gains[-1],
        "expected": None if expected is None else [expected.mean, expected.half_width], "seconds": seconds,
        "threads": int(os.environ.get("OMP_NUM_THREADS", "0")),
    }  # fmt: skip


def page(rows: list[dict[str, Any]]) -> list[str]:
    """The page of results."""
    lines = [
        "# The choice without clean labels",
        "",
        "Written by `python benchmarks/choice.py --write` from `benchmarks/results/choice.jsonl`. Heads on features; 17",
        "cures are compared on held-out samples with given labels within 33 trainings, one seed a row. Gains are points of",
        "accuracy on clean test labels, which the choice has not read, against training on the data as they are. The best",
        "candidate is the one that clean test labels would have picked, on this very seed, an optimistic bound.",
        "The expected gain is that on held-out samples. Seconds were taken while the machine did other work.",
        "",
        "| regime | seed | designed on | samples | wrong | pick | gain | expected | best candidate | its gain "
        "| oracle drop | s |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: (row["regime"], row["seed"])):
        designed = "yes" if row["seed"] in DESIGNED.get(row["regime"], ()) else "no"
        expected = "" if row["expected"] is None else f"{row['expected'][0]:+.1f} ± {row['expected'][1]:.1f}"
        lines.append(
            f"| {row['regime']} | {row['seed']} | {designed} | {row['samples']:,} | {100 * row['wrong']:.1f} % "
            f"| {row['pick']} | {row['gain']:+.2f} | {expected} | {row['best']} | {row['best_gain']:+.2f} "
            f"| {row['oracle_drop']:+.2f} "
            f"| {row['seconds']:.0f} |"
        )
    fresh = [row["gain"] for row in rows if row["seed"] not in DESIGNED.get(row["regime"], ())]
    summary = f"{len(fresh)}, mean gain {np.mean(fresh):+.2f}, worst {min(fresh):+.2f}"
    return [*lines, "", f"Rows that nothing was designed on: {summary}."]


def main() -> None:
    """Runs what is missing, or writes the page."""
    parser = parser_of(__doc__, seeds=1)
    parser.add_argument("--regime")
    parser.add_argument("--features", type=Path)
    parser.add_argument("--label", default="n_worse_label")
    parser.add_argument("--size", type=int, default=6000)

    def run_seed(asked: argparse.Namespace, seed: int) -> None:
        name = asked.label if asked.features else asked.regime
        if not ROWS.have(regime=name, seed=seed):
            found = asked.features and of_features(asked.features, name, seed, asked.size)
            row = {"regime": name, "seed": seed} | measure(found or of_regime(asked.data, name, seed), seed)
            ROWS.add(row)
            print(row, flush=True)

    run_seeds(parser, run_seed, lambda: write_page("results-choice.md", page(ROWS.read())), needs=())


if __name__ == "__main__":
    main()
