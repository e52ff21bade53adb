"""What ``gradsift doctor`` tries on this machine: the main job on small data, each part by itself."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from gradsift.audit import audit, audit_predictions
from gradsift.demo import blobs
from gradsift.gradients import PerSampleGradients
from gradsift.progress import progress
from gradsift.result import Audit


@dataclass(frozen=True)
class Check:
    """One part of the self-test.

    Attributes:
        name: What was tried.
        passed: Whether it works.
        problem: What went wrong; empty where it works.
        seconds: How long it took.
    """

    name: str
    passed: bool
    problem: str
    seconds: float


def self_test(device: str = "cpu") -> list[Check]:
    """Runs all checks; none stops the others.

    Args:
        device: Where the model runs.

    Returns:
        What came out.
    """
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with tempfile.TemporaryDirectory(prefix="gradsift-") as folder, progress("self-test", 4, unit="checks") as bar:
            checks = []
            for name, check in _checks(Path(folder), device):
                checks.append(_tried(name, check))
                bar.advance()
            return checks
    finally:
        logging.disable(previous)


def _tried(name: str, check: Callable[[], str]) -> Check:
    start = time.monotonic()
    try:
        problem = check()
    except Exception as error:  # noqa: BLE001  # whatever fails here is what the user asks about
        problem = f"{type(error).__name__}: {error}"
    return Check(name, not problem, problem, round(time.monotonic() - start, 2))


def _checks(folder: Path, device: str) -> Iterator[tuple[str, Callable[[], str]]]:
    """Name to a function that gives what went wrong, or an empty text."""
    inputs, labels, wrong = blobs.load()
    model = blobs.train(inputs, labels).to(device)
    yield f"per-sample gradients on {device} equal those of single samples", lambda: _gradients(model, inputs, labels)
    yield (
        "an audit of a model finds wrong labels",
        lambda: _found(audit(model, (inputs, labels), output=folder / "run", show_progress=False), wrong),
    )
    yield (
        "an audit of features finds wrong labels",
        lambda: _found(audit_predictions(labels, features=inputs, show_progress=False), wrong),
    )
    yield "a run directory is read, trimmed and reported", lambda: _kept(folder, (inputs, labels))


def _gradients(model: nn.Module, inputs: np.ndarray, labels: np.ndarray) -> str:
    """Norms of a batch beside those of one sample at a time by plain autograd."""
    place = next(model.parameters()).device
    batch = (torch.from_numpy(inputs[:16]).to(place), torch.from_numpy(labels[:16]).to(place))
    norms = PerSampleGradients(model, "classification", batch, layers="all")(batch).statistics["l2"]
    for row in range(16):
        loss = nn.functional.cross_entropy(model(batch[0][row : row + 1]), batch[1][row : row + 1])
        exact = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))]).norm()
        if not torch.isclose(norms[row].cpu().double(), exact.cpu().double(), rtol=1e-4, atol=1e-6):
            return f"the gradient of sample {row} has norm {float(norms[row]):.6g}, by itself {float(exact):.6g}"
    return ""


def _found(result: Audit, wrong: np.ndarray) -> str:
    """Whether most of the worst samples are those with a wrong label."""
    number = int(wrong.sum())
    right = int(wrong[result.worst(number, previews=False)["position"].to_numpy()].sum())
    return "" if right > 0.8 * number else f"of the {number} worst samples only {right} have a wrong label"


def _kept(folder: Path, train_set: tuple[np.ndarray, np.ndarray]) -> str:
    opened = Audit.open(folder / "run", train_set)
    kept, flagged = len(opened.trim()[0]), len(opened.flagged_positions)
    if kept != len(opened) - flagged:
        return f"{kept} of {len(opened)} samples are kept, {flagged} are flagged"
    return "" if opened.report(folder / "page.html").read_bytes() else "the page is empty"
