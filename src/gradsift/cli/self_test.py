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
from gradsift.gradients import PerSampleGradients
from gradsift.progress import progress
from gradsift.result import Audit

SAMPLES, WRONG = 180, 18


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
            found = []
            for name, check in _checks(Path(folder), device):
                found.append(_tried(name, check))
                bar.advance()
            return found
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
    inputs, given, wrong = _data()
    model = _trained(inputs, given).to(device)
    yield f"per-sample gradients on {device} equal those of single samples", lambda: _gradients(model, inputs, given)
    yield (
        "an audit of a model finds wrong labels",
        lambda: _found(audit(model, (inputs, given), output=folder / "run", show_progress=False), wrong),
    )
    yield (
        "an audit of features finds wrong labels",
        lambda: _found(audit_predictions(given, features=inputs, show_progress=False), wrong),
    )
    yield "a run directory is read, trimmed and reported", lambda: _kept(folder, (inputs, given))


def _data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three separate classes in the plane, given labels, and which of them are wrong."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), SAMPLES // 3)
    centres = np.array([[0.0, 4.0], [4.0, -2.0], [-4.0, -2.0]])
    inputs = (centres[labels] + generator.normal(size=(SAMPLES, 2))).astype(np.float32)
    wrong = generator.choice(SAMPLES, WRONG, replace=False)
    given = labels.copy()
    given[wrong] = (labels[wrong] + 1) % 3
    return inputs, given, wrong


def _trained(inputs: np.ndarray, labels: np.ndarray) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(60):
        loss = nn.functional.cross_entropy(model(torch.from_numpy(inputs)), torch.from_numpy(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def _gradients(model: nn.Module, inputs: np.ndarray, labels: np.ndarray) -> str:
    """Norms of a batch beside those of one sample at a time by plain autograd."""
    place = next(model.parameters()).device
    batch = (torch.from_numpy(inputs[:16]).to(place), torch.from_numpy(labels[:16]).to(place))
    found = PerSampleGradients(model, "classification", batch, layers="all")(batch).statistics["l2"]
    for row in range(16):
        loss = nn.functional.cross_entropy(model(batch[0][row : row + 1]), batch[1][row : row + 1])
        exact = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))]).norm()
        if not torch.isclose(found[row].cpu().double(), exact.cpu().double(), rtol=1e-4, atol=1e-6):
            return f"the gradient of sample {row} has norm {float(found[row]):.6g}, by itself {float(exact):.6g}"
    return ""


def _found(result: Audit, wrong: np.ndarray) -> str:
    """Whether most of the worst samples are those with a wrong label."""
    worst = result.worst(WRONG, previews=False)["position"].to_numpy()
    right = len(np.intersect1d(worst, wrong))
    return "" if right > 0.8 * WRONG else f"of the {WRONG} worst samples only {right} have a wrong label"


def _kept(folder: Path, train_set: tuple[np.ndarray, np.ndarray]) -> str:
    opened = Audit.open(folder / "run", train_set)
    kept = len(opened.trim()[0])
    if kept != SAMPLES - len(opened.flagged_positions):
        return f"{kept} of {SAMPLES} samples are kept, {len(opened.flagged_positions)} are flagged"
    return "" if opened.report(folder / "page.html").read_bytes() else "the page is empty"
