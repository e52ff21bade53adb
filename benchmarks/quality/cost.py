"""What the default along training costs: training with a recorder on its own passes, against the same training without.

Epochs with and without alternate, seconds are of computing by one thread; to the recording comes the scoring once at the
end: neighbours of all samples, and the posterior.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from frame.rows import RESULTS, Row, add, machine
from torch import nn
from torch.nn import functional

import gradsift
from gradsift.detectors import detrimental_scores, get_detector
from gradsift.trajectory.indexed import IndexedBatch
from quality.methods import evidence_along_training
from quality.regimes import REGIMES, Problem
from quality.retrain import record_at
from quality.training import augmented

COST = RESULTS / "quality_cost.parquet"
COSTED = (
    "adult-symmetric-20", "hausa-distant", "fashion-symmetric-20", "trec-symmetric-20", "cifar10n-worst", "half-moons",
    "linear-toy",
)  # fmt: skip
"""One regime a network."""
ROUNDS = 9


def cost_all(data: Path, runs: Path) -> None:
    """Measures each regime whose first record is there.

    Args:
        data: Folder of the data sets.
        runs: Folder of the records.
    """
    for name in COSTED:
        record = record_at(runs, name, 0)
        if record is None:
            continue
        problem = REGIMES[name].load(data, 0)
        plain, recorded = epochs(problem)
        began = time.process_time()
        detrimental_scores(
            get_detector("posterior_along_training"), evidence_along_training(record, "train"), record.given
        )
        scoring = time.process_time() - began
        row: Row = {"regime": name, "epochs": problem.recipe.epochs, "plain": plain, "recorded": recorded,
                    "scoring": scoring, "machine": machine()}  # fmt: skip
        add(COST, [row], ("regime",))
        print(f"{name}: {100 * (recorded / plain - 1):.1f} % recording, {scoring:.2f} s scoring", flush=True)


def epochs(problem: Problem) -> tuple[float, float]:
    """Median seconds of an epoch without and with a recorder.

    Args:
        problem: The draw.

    Returns:
        Both.
    """
    torch.manual_seed(0)
    given = torch.from_numpy(np.array(problem.given)).long()
    models = [problem.network(), problem.network()]
    recorder = gradsift.Recorder(models[1], (problem.inputs, given), passes="train", show_progress=False)
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for model, found, recording in zip(models, seconds, (None, recorder), strict=True):
            optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
            model.train()
            began = time.process_time()
            for rows in torch.randperm(len(given)).split(problem.recipe.batch or len(given)):
                step(model, optimizer, augmented(problem.inputs[rows], problem.recipe), given[rows], rows, recording)
            if recording is not None:
                recording.end_epoch()
            found.append(time.process_time() - began)
    recorder.finish()
    if recorder.failure is not None:
        raise SystemExit(f"the recorder stopped: {recorder.failure}")
    return float(np.median(seconds[0])), float(np.median(seconds[1]))


def step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: torch.Tensor,
    labels: torch.Tensor,
    rows: torch.Tensor,
    recorder: gradsift.Recorder | None,
) -> None:
    """One step of training, seen by the recorder where there is one."""
    if recorder is not None:
        recorder.see(IndexedBatch((inputs, labels), rows))
    loss = functional.cross_entropy(model(inputs), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if recorder is not None:
        recorder.end_step()


def cost_lines(rows: list[Row], detection: list[Row]) -> list[str]:
    """The table of the page.

    Args:
        rows: Rows of :data:`COST`.
        detection: Detection rows, which know what eval passes take.

    Returns:
        Lines of Markdown.
    """
    lines = [
        "| regime | an epoch (s) | scoring once, share of the training | recording of own passes | together "
        "| an eval pass every third epoch | together |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        third = [
            one["information_seconds"] / one["training_seconds"]
            for one in detection
            if one["regime"] == row["regime"] and one["method"] == "posterior_every_third"
        ]
        own, passes = row["recorded"] / row["plain"] - 1, float(np.mean(third))
        scoring = row["scoring"] / (row["plain"] * row["epochs"])
        cells = [f"{100 * one:.1f} %" for one in (scoring, own, scoring + own, passes, scoring + passes)]
        lines.append(f"| {row['regime']} | {row['plain']:.2f} | " + " | ".join(cells) + " |")
    machines = "; ".join(sorted({row["machine"] for row in rows}))
    return [*lines, "", f"Medians of {ROUNDS} epochs with and without a recorder, alternating. Machine: {machines}."]
