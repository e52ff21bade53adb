"""How well every method finds the wrong labels, on the same trained models; and what the automatic budget says."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
from frame.rows import Row, add, machine, read

from gradsift.cleaning.contamination import Decision, count_disagreements
from gradsift.detectors import Belief
from gradsift.errors import GradsiftError
from gradsift.evaluation import detection_measures
from gradsift.evidence import Evidence
from quality.methods import FLAWS, METHODS, Method, evidence, evidence_along_training, posterior_of
from quality.record import Record
from quality.rows import BUDGET, DETECTION

KEY = ("regime", "seed", "method")
EVERYTHING: dict[str, Method] = METHODS | {name: flawed for name, (_, flawed) in FLAWS.items()}
PAPERS_BUDGET = 0.05


def detect(record: Record, *, again: bool = False) -> int:
    """Scores one record with every method whose row is missing.

    Args:
        record: The record.
        again: Whether rows that are there are made anew.

    Returns:
        Number of rows made.
    """
    about = record.about
    here = {"regime": about["regime"], "seed": about["seed"]}
    done = {row["method"] for row in read(DETECTION) if row.items() >= (here | {"key": about["key"]}).items()}
    rows = []
    for name, method in EVERYTHING.items():
        if name in done and not again:
            continue
        started = time.process_time()
        try:
            scores = method.score(record)
        except (KeyError, GradsiftError) as error:  # a network that has died has no curvature, so some have no answer
            print(f"{about['regime']} seed {about['seed']} {name}: {error}", flush=True)
            continue
        seconds = time.process_time() - started
        rows.append(
            here | {"method": name, "key": about["key"], "information": method.information}
            | detection_measures(scores, record.wrong)
            | removal(record, scores)
            | {"seconds": seconds, "information_seconds": information_seconds(record, name, method),
               "training_seconds": about["seconds"]["training"], "samples": len(record), "wrong": about["wrong"],
               "accuracy": about["test_accuracy"][-1], "machine": machine()}
        )  # fmt: skip
    add(DETECTION, rows, KEY)
    add(BUDGET, budgets(record), ("regime", "seed", "estimate"))
    return len(rows)


def removal(record: Record, scores: np.ndarray) -> Row:
    """What the first samples are: at the true rate the removed share of each given class, at 5 % the share of wrong ones.

    Args:
        record: The record.
        scores: Shape (n,), high = detrimental.

    Returns:
        ``largest_class_share`` and ``smallest_class_share`` of the given classes, ``rarest_class_right``: the share of the
        right samples of the rarest true class that is removed, and ``precision_at_5``.
    """
    order, given, true = np.argsort(-scores, kind="stable"), np.asarray(record.given), np.asarray(record.true)
    top, classes = order[: record.about["wrong"]], np.unique(given)
    shares = [float((given[top] == one).sum() / (given == one).sum()) for one in classes]
    rarest = classes[np.argmin([(true == one).sum() for one in classes])]
    right = (true == rarest) & ~record.wrong
    first = order[: max(1, round(PAPERS_BUDGET * len(order)))]
    return {
        "largest_class_share": max(shares), "smallest_class_share": min(shares),
        "rarest_class_right": float(right[top].sum() / max(1, right.sum())),
        "precision_at_5": float(record.wrong[first].mean()),
    }  # fmt: skip


def information_seconds(record: Record, name: str, method: Method) -> float:
    """Seconds of computing for what a method reads, beyond the training itself.

    Args:
        record: The record.
        name: Name of the method.
        method: The method.

    Returns:
        Eval passes, further trainings, gradient passes or influence, as the method needs them.
    """
    seconds, epochs = record.about["seconds"], len(record.about["epochs"])
    one_pass = seconds["eval_passes"] / epochs
    asked = json.loads(Path(record.folder / "influence.json").read_text())
    plain = name.partition(",")[0]
    if "own_passes" in plain or method.information == "control":
        return 0.0
    if plain in asked:
        return asked[plain]
    if plain == "posterior_every_third":
        return seconds["eval_passes"] / 3
    if plain.startswith("self_") and f"{plain}_last" in asked:
        return asked[f"{plain}_last"]
    if plain.endswith("_all"):
        return seconds["all_layers"]
    if method.information == "trajectory":
        return seconds["eval_passes"]
    return seconds["out_of_fold"] if method.information == "out-of-fold" else one_pass


def budgets(record: Record) -> list[Row]:
    """How many labels are said to be wrong: by the automatic budget of both defaults, and by confident learning.

    Args:
        record: The record.

    Returns:
        A row an estimate.
    """
    given = np.array(record.given)
    decisions = {
        "final": automatic(evidence(record), given),
        "trajectory": automatic(evidence_along_training(record, "train"), given),
        "confident learning, final": disagreements(record.probabilities[-1], given),
        "confident learning, out-of-fold": disagreements(record.oof_probabilities, given),
    }
    return [
        {"regime": record.about["regime"], "seed": record.about["seed"], "estimate": name, "fraction": one.fraction,
         "low": one.low, "high": one.high, "true": float(record.wrong.mean()), "machine": machine()}
        for name, one in decisions.items()
    ]  # fmt: skip


def automatic(known: Evidence, given: np.ndarray) -> Decision:
    """The automatic budget of an audit: confident disagreements of the default detector's belief."""
    return disagreements(posterior_of(known).fit(known, given).belief_, given)  # type: ignore[attr-defined]


def disagreements(predictions: np.ndarray | Belief, given: np.ndarray) -> Decision:
    """Confident learning's count from predictions or a belief."""
    return count_disagreements(given, predictions)
