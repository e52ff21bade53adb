"""What the paper's experiments on wrong labels share: its algorithm 1 for some detectors, with controls, as one table."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import gradsift
from gradsift.evaluation import Estimate, estimate

OUTLIERS = ("l1", "l2", "isolation_forest")
"""The paper's three detectors."""
DETECTORS = (*OUTLIERS, "self_confidence", "posterior")
"""They, one baseline on the given labels, and gradsift's own default."""


class Problem(NamedTuple):
    """Samples with their given labels, clean test samples that no detector sees, and given and true labels, shape (n,)."""

    train_set: Any
    test_set: Any
    given: np.ndarray
    true: np.ndarray


def trim_and_retrain(
    train: Callable[..., Any],
    draw: Callable[[int], Problem],
    *,
    share: float,
    seeds: int,
    **settings: Any,
) -> dict[str, dict[str, list[float]]]:
    """Trains on the given labels, flags a fixed share by each detector, and trains again without what is flagged.

    Args:
        train: ``train(dataset, *, seed) -> model``.
        draw: Seed to the data.
        share: Share of samples to flag, fixed beforehand.
        seeds: How many times: each draws, trains, audits and trains again.
        settings: Of :func:`gradsift.audit`.

    Returns:
        Arm to ``accuracy`` on the test set (%), and to ``detection``, the share of samples that are rightly flagged or
        rightly left (%); one value a seed.
    """
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for seed in range(seeds):
        train_set, test_set, given, true = draw(seed)
        audit = gradsift.audit(
            train(train_set, seed=seed), train_set, detectors=DETECTORS, contamination=share, findings=False, seed=seed,
            show_progress=False, **settings,
        )  # fmt: skip
        arms = {
            name: gradsift.rescore(audit, audit.table[f"score_{name}"].to_numpy(), name, contamination=share)
            for name in DETECTORS
        }
        proof = gradsift.verify(
            train, train_set, audit, test_set, gradsift.accuracy, arms=arms, seeds=[seed], true_labels=true,
            show_progress=False,
        )  # fmt: skip
        for arm in proof.arms:
            found[arm]["accuracy"].append(proof.values(arm)[seed])
        for arm, trimmed in arms.items():
            rightly = trimmed.table["flagged"].to_numpy() == (given != true)
            found[arm]["detection"].append(100 * float(rightly.mean()))
    return found


def beside(
    found: Mapping[str, Mapping[str, Sequence[float]]],
    columns: Mapping[str, str],
    printed: Mapping[str, str] | None = None,
    paper: str = "the paper",
    digits: int = 2,
) -> list[str]:
    """A table of Markdown: a row an arm, ours with its interval over seeds, and what the paper prints.

    Args:
        found: Arm to measure to one value a seed.
        columns: Measure to the words above its column.
        printed: Arm to the numbers of the paper; ``None`` where it prints none.
        paper: Words above their column.
        digits: Digits behind the point.

    Returns:
        The lines.
    """
    heads = [*columns.values(), *([paper] if printed is not None else [])]
    lines = [f"| | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    for arm, measures in found.items():
        cells = [cell(estimate(measures[measure]), digits) if measures.get(measure) else "" for measure in columns]
        cells += [printed.get(arm, "")] if printed is not None else []
        lines.append(f"| {arm.replace('_', ' ')} | {' | '.join(cells)} |")
    return lines


def cell(value: Estimate, digits: int) -> str:
    """Mean ± half a 95 % interval over the seeds; the mean alone of one seed."""
    if np.isnan(value.half_width):
        return f"{value.mean:.{digits}f}"
    return f"{value.mean:.{digits}f} ± {value.half_width:.{digits}f}"


def parser_of(doc: str | None, seeds: int) -> argparse.ArgumentParser:
    """What each script takes: where data lie, how many seeds, and a file for its tables."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the data sets")
    parser.add_argument("--seeds", type=int, default=seeds, help="how many")
    parser.add_argument("-o", "--output", type=Path, help="also write the tables into this file")
    return parser


def show(lines: Sequence[str], output: Path | None) -> None:
    """Prints the tables, and writes them where a file is named."""
    text = "\n".join(lines) + "\n"
    print(text)
    if output is not None:
        output.write_text(text)
