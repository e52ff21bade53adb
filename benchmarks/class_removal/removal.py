"""A class is removed by an edit of the weights, whose length is chosen on validation samples."""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch
from frame.rows import Rows, machine
from torch import Tensor, nn

from class_removal.problems import CLASSES, PROBLEMS, WRONG, Job, Split
from gradsift.influence import SampleGradients, Utility
from gradsift.influence.generalized import GeneralizedInfluence
from gradsift.influence.selectors import HighestGradients, HighestOutputs, RandomWeights

ROWS = Rows("class_removal.jsonl", key=("model", "selector", "solver", "seed"))
RATIOS = (0.05, 0.1, 0.3)
STEPS = {("mnist", "fixed-point"): 30, ("mnist", "conjugate-gradients"): 10, ("cifar10", "fixed-point"): 20,
         ("cifar10", "conjugate-gradients"): 8}  # fmt: skip
SELECTORS = {"gradients": HighestGradients, "outputs": HighestOutputs, "random": RandomWeights}
POISONED = -1
COARSE, FINE = 2.0, 2.0 ** (1 / 4)
SHORTEST = 0.002
"""The first share of the weights' length that is tried; it is doubled until the score falls."""


def steps_of(arguments: argparse.Namespace) -> int:
    return STEPS["cifar10" if arguments.model == "cifar10" else "mnist", arguments.solver]


def directions(
    job: Job, arguments: argparse.Namespace, seed: int
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Arm to a change of the weights of any length, and what the solvers say."""
    size = len(job.kept.labels)
    both = tuple(torch.cat(pair) for pair in zip(job.kept, job.removed, strict=True))
    gradients = SampleGradients(job.model, both, batch_size=size, show_progress=False)
    target, positions = Utility(tuple(job.removed)), np.arange(size, len(both[0]))
    slope = {n: one[0] for n, one in target.direction(job.model, gradients.task, gradients.parameters).items()}
    masks = {ratio: SELECTORS[arguments.selector](ratio, seed=seed)(gradients, tuple(job.removed)) for ratio in RATIOS}
    found, said = {}, {}

    def solve(mode: str, mask: Any, name: str) -> dict[str, Tensor]:
        started = time.perf_counter()
        method = GeneralizedInfluence(
            mode=mode, selector=mask, solver=arguments.solver, max_steps=steps_of(arguments),
            tolerance=0.0, seed=seed, show_progress=False,
        ).fit_gradients(gradients)  # fmt: skip
        step = {n: one[0] for n, one in method.step(positions).items()}
        solver = method.report_["solver"]
        said[name] = {
            "seconds": time.perf_counter() - started, "residual": solver["residuals"][0], "steps": solver["steps"],
            "end": solver["ends"][0], "restarts": solver["restarts"], "movable": method.report_["movable"],
        }  # fmt: skip
        return step

    whole = found["all"] = solve("all", None, "all")
    for ratio, mask in masks.items():
        found[f"GIF {ratio:g}"] = solve("generalized", mask, f"GIF {ratio:g}")
        found[f"FIF {ratio:g}"] = solve("freeze", mask, f"FIF {ratio:g}")
        found[f"PIF {ratio:g}"] = {name: one * mask[name] for name, one in whole.items()}
        found[f"gradient {ratio:g}"] = {name: one * mask[name] for name, one in slope.items()}
    return found, said


def accuracies(model: nn.Module, data: Split, kind: int) -> dict[str, float]:
    """Accuracy on a class and on the others; of poisoned samples how many get the wrong label, and F1 of true labels."""
    with torch.no_grad():
        guesses = torch.cat([model(x).argmax(dim=1) for x in data.inputs.split(200)])
    labels = data.labels
    own = labels >= CLASSES if kind == POISONED else labels == kind
    others = float((guesses == labels)[~own].float().mean())
    learnt = float((guesses[own] == (WRONG if kind == POISONED else kind)).float().mean())
    forgotten = float((guesses == labels - CLASSES)[own].float().mean()) if kind == POISONED else 1 - learnt
    return {"own": learnt, "others": others, "f1": 2 * forgotten * others / max(forgotten + others, 1e-12)}


def edited(job: Job, change: dict[str, Tensor], kind: int) -> dict[str, float]:
    """Scores on test samples at the length that is best on validation samples."""
    weights = {name: one.detach().clone() for name, one in job.model.named_parameters()}
    size = float(torch.cat([one.flatten() for one in weights.values()]).norm())
    length = float(torch.cat([one.flatten() for one in change.values()]).norm())
    tried: dict[float, float] = {}

    def put(share: float) -> None:
        with torch.no_grad():
            for name, parameter in job.model.named_parameters():
                parameter.copy_(weights[name] + (share * size / length) * change[name])

    def score(share: float) -> float:
        if share not in tried:
            put(share)
            tried[share] = accuracies(job.model, job.validation, kind)["f1"]
        return tried[share]

    try:
        share = SHORTEST
        while share <= 2.5 and not (max(tried.values(), default=0) > 0.5 and score(share) < max(tried.values()) - 0.1):
            score(share)
            share *= COARSE
        for power in (2, 1):  # by the square root of the coarse factor, then by its fourth root
            centre = max(tried, key=lambda one: (tried[one], -one))
            for share in (centre / FINE**power, centre * FINE**power):
                score(share)
        best = max(tried, key=lambda one: (tried[one], -one))
        put(best)
        return accuracies(job.model, job.test, kind) | {"share": best, "validation": tried[best], "tried": len(tried)}
    finally:
        put(0.0)


def run_removal(arguments: argparse.Namespace, seed: int) -> None:
    key = {"model": arguments.model, "selector": arguments.selector, "solver": arguments.solver, "seed": seed}
    if ROWS.have(**key):
        return
    started, kind = time.perf_counter(), POISONED if arguments.model == "backdoor" else seed % CLASSES
    job = PROBLEMS[arguments.model](arguments.data, kind, seed)
    changes, said = directions(job, arguments, seed)
    arms = {"no edit": accuracies(job.model, job.test, kind)}
    if job.retrained is not None:
        arms["retrained"] = accuracies(job.retrained, job.test, kind)
    for name, change in changes.items():
        arms[name] = edited(job, change, kind)
    row = key | {
        "class": kind, "steps": steps_of(arguments), "arms": arms, "solver_said": said,
        "weights": sum(p.numel() for p in job.model.parameters()), "seconds": time.perf_counter() - started,
        "sizes": {name: len(getattr(job, name).labels) for name in ("removed", "kept", "validation", "test")},
        "machine": machine(),
    }  # fmt: skip
    ROWS.add(row)
    print(f"{key}: {row['seconds']:.0f} s", flush=True)
    for name, values in arms.items():
        print(f"  {name:14s} F1 {values['f1']:.3f} own {values['own']:.3f} others {values['others']:.3f} "
              f"at {values.get('share', 0):.4f}", flush=True)  # fmt: skip
