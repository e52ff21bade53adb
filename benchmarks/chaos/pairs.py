"""Two processes on one output: one proceeds, the other exits with a message; the result is that of one process alone."""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path

from chaos.contents import contents
from chaos.isolation import Child
from chaos.jobs import Trial
from chaos.stage import Row, Stage, row

COUNT = 120
JOBS = ("audit npz", "audit csv, all layers", "audit --overwrite", "trim parquet", "trim images", "influence",
        "influence -o", "verify", "report", "Recorder.save", "Recorder.save over an older save")  # fmt: skip
REPLACES = (
    "audit --overwrite",
    "influence",
    "influence -o",
    "verify",
    "report",
    "Recorder.save",
    "Recorder.save over an older save",
)
"""Jobs that may replace what they wrote before: both processes may proceed, one after the other."""
APART = 0.05
"""Most seconds between the two, in half of the pairs; in the others as long as the job takes."""


def attack(stage: Stage, count: int) -> list[Row]:
    """Starts pairs of every job.

    Args:
        stage: Where.
        count: How many pairs in all.
    """
    trials, draw = stage.trials(JOBS), random.Random(stage.seed)
    cases = []
    for number in range(count):
        trial = trials[number % len(trials)]
        most = APART if number // len(trials) % 2 == 0 else trial.seconds
        cases.append((trial, draw.uniform(0, most)))
    return stage.map(_attempt, cases)


def _attempt(case: tuple[Trial, float], place: Path) -> Row:
    trial, delay = case
    folder = trial.folder(place)
    gates = [os.pipe(), os.pipe()]
    children = [Child(trial.job.action, folder, gate=gate[0]) for gate in gates]
    for gate, pause in zip(gates, (delay, 0), strict=True):
        os.write(gate[1], b"!")
        time.sleep(pause)
    ended = [child.wait() for child in children]
    for handle in (end for gate in gates for end in gate):
        os.close(handle)
    now = contents(folder)
    shutil.rmtree(folder)
    name = f"{trial.job.name}, {1000 * delay:.1f} ms apart"
    kinds = sorted(one.kind for one in ended)
    said = "; ".join(one.tail for one in ended if one.kind != "done")
    for kind in ("hang", "traceback"):
        if kind in kinds:
            return row(name, kind, failed=True, detail=said)
    if kinds == ["refused", "refused"]:
        return row(name, "both refused", failed=True, detail=said)
    if kinds == ["done", "done"] and trial.job.name not in REPLACES:
        return row(name, "both proceeded", failed=True)
    if (difference := trial.difference(now)) is not None:
        return row(name, "another result", failed=True, detail=f"{difference}; {said}")
    if left := trial.left_over(now):
        return row(name, "stray files", failed=True, detail=", ".join(left[:5]))
    if "refused" in kinds and not said:
        return row(name, "no message", failed=True)
    return row(name, "one proceeded" if "refused" in kinds else "one after the other", detail=said)
