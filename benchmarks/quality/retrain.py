"""Does removing what a method flags help? The same shuffled recipe for every arm, last epoch, arms paired by seed."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from frame.rows import Row, add, machine, read
from torch import nn

from quality.detect import automatic
from quality.methods import METHODS, evidence, evidence_along_training
from quality.record import Record
from quality.regimes import Problem
from quality.rows import RETRAINING
from quality.training import accuracy, train

KEY = ("regime", "seed", "arm", "budget")
REGIMES = (
    "half-moons", "linear-toy", "adult-symmetric-20", "adult-class-10-30", "bank-class-10-30", "hausa-distant",
    "trec-symmetric-20", "fashion-pair-20", "fashion-symmetric-20-long", "cifar10n-worst",
)  # fmt: skip
"""Four that cost minutes (human labels, planted ones that are memorised, pair noise, a text set), and what costs seconds:
tables, Hausa, toys."""
CONTROLS = ("random", "oracle")
ARMS = ("posterior", "posterior_own_passes", "l2", "isolation_forest", "loss", "aum_own_passes")
TOY_ARMS = (
    *ARMS, "self_confidence_oof", "inner_product_all", "l1", "l2_along_training", "normalized_margin",
    "confidence_weighted_entropy", "datainf_last", "lissa_last", "self_datainf", "self_exact", "neighbours",
)  # fmt: skip
"""More arms where a training takes a second or two."""
CHEAP = ("half-moons", "linear-toy", "adult-symmetric-20", "adult-class-10-30", "bank-class-10-30", "hausa-distant")
SHARES = {"2.5 %": 0.025, "5 %": 0.05, "10 %": 0.1}
NO_TRIM, UNSHUFFLED = "no trim", "no trim, batches in the same order"


def retrain(record: Record, problem: Problem, *, full: bool = False) -> int:
    """Trains every arm of one record whose row is missing; each is one row, so a killed run goes on where it stopped.

    Args:
        record: The record.
        problem: The draw that it is of.
        full: Whether every method is an arm, at every budget.

    Returns:
        Number of rows made.
    """
    about, made = record.about, 0
    here = {"regime": about["regime"], "seed": about["seed"], "key": about["key"]}
    done = {(row["arm"], row["budget"]) for row in read(RETRAINING) if row.items() >= here.items()}
    for arm, budget, kept in arms(record, full):
        if (arm, budget) in done:
            continue
        row = here | {"arm": arm, "budget": budget, "removed": len(record) - len(kept)}
        row["wrong_removed"] = about["wrong"] - int(record.wrong[kept].sum())
        if arm == NO_TRIM:  # the recorded training is this one
            row |= {"accuracy": about["test_accuracy"][-1], "best_accuracy": max(about["test_accuracy"]),
                    "seconds": about["seconds"]["training"], "machine": about["machine"]}  # fmt: skip
        else:
            row |= trained(problem, kept, about["seed"], shuffled=arm != UNSHUFFLED)
        add(RETRAINING, [row], KEY)
        made += 1
        print(
            f"{time.strftime('%H:%M:%S')} {about['regime']} seed {about['seed']} {arm}, {budget}: "
            f"{row['accuracy']:.2f} % in {row['seconds']:.0f} s",
            flush=True,
        )
    return made


def arms(record: Record, full: bool) -> list[tuple[str, str, np.ndarray]]:
    """What is trained: name, budget, positions kept.

    Args:
        record: The record.
        full: Whether every method is an arm, at every budget.

    Returns:
        The arms, controls first.
    """
    size, given = len(record), np.array(record.given)
    counts = {"true": record.about["wrong"], "auto": automatic(evidence(record), given).count}
    counts["auto, along training"] = automatic(evidence_along_training(record, "train"), given).count
    if full:
        counts |= {name: round(share * size) for name, share in SHARES.items()}
    everything = np.arange(size)
    found = [(NO_TRIM, "none", everything), (UNSHUFFLED, "none", everything)]
    names = METHODS if full else (*CONTROLS, *(TOY_ARMS if record.about["regime"] in CHEAP else ARMS))
    for name in sorted(names, key=lambda one: one not in CONTROLS):
        try:
            order = np.argsort(-METHODS[name].score(record), kind="stable")
        except KeyError:  # influence that has no answer on a network that has died
            continue
        fitting = {budget: count for budget, count in counts.items() if count and applies(budget, name)}
        found += [(name, budget, np.sort(order[count:])) for budget, count in fitting.items()]
    return found


def applies(budget: str, arm: str) -> bool:
    """Whether an arm is trained at a budget: the automatic ones go by what the arm reads, controls have both."""
    information = METHODS[arm].information
    if information == "control" or not budget.startswith("auto"):
        return True
    return (information == "trajectory") == (budget == "auto, along training")


def trained(problem: Problem, kept: np.ndarray, seed: int, *, shuffled: bool = True) -> Row:
    """One training and its test accuracy, of the last and of the best epoch (which only the flaws' table reads).

    Args:
        problem: The draw.
        kept: Positions that are kept.
        seed: Seed of the training, the same for all arms.
        shuffled: Whether batches are drawn anew in each epoch.

    Returns:
        Columns of a row.
    """
    accuracies: list[float] = []
    testing = 0.0

    def on_epoch(_epoch: int, model: nn.Module) -> None:
        nonlocal testing
        began = time.process_time()
        accuracies.append(accuracy(model, *problem.test))
        testing += time.process_time() - began

    started = time.process_time()
    train(
        problem.network, problem.recipe, problem.inputs[kept], problem.given[kept], seed=seed, shuffled=shuffled,
        on_epoch=on_epoch,
    )  # fmt: skip
    seconds = time.process_time() - started - testing
    return {"accuracy": accuracies[-1], "best_accuracy": max(accuracies), "seconds": seconds, "machine": machine()}


def record_at(runs: Path, regime: str, seed: int) -> Record | None:
    """A record, where there is a whole one.

    Args:
        runs: Folder of all records.
        regime: The regime.
        seed: The seed.

    Returns:
        The record, or none.
    """
    folder = runs / regime / str(seed)
    return Record.load(folder) if (folder / "influence.npz").exists() else None
