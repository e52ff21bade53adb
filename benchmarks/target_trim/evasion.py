"""Part on robustness: trims by influence on attacked points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from gradsift.influence import Adversarial
from gradsift.tasks import BinaryClassification
from target_trim.methods import lowest_first, methods_of, store_of
from target_trim.tables import TableRows, load, train

ATTACKED, TRIMMED = 0.25, 0.025


@torch.no_grad()
def right_share(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    return 100 * float(((model(x)[:, 0] > 0) == (y == 1)).float().mean())


def run_evasion(data: Path, part: str, seed: int) -> dict[str, Any]:
    """The attack of Chhabra et al. on a quarter of the points; trim by influence on the attacked ones, refit."""
    training, validation, test = load(data, "bank" if part == "evasion-bank" else "adult", seed)
    model, task = train(training, "logistic", seed), BinaryClassification()
    generator = np.random.default_rng([seed, 62])

    def attacked(rows: TableRows, against: nn.Module, places: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = rows.at(places)
        moved, _ = Adversarial(chosen.samples, attack="linear").batch(against, task, np.arange(len(places)))
        return moved, chosen.y

    hit = {n: generator.choice(len(r.y), round(ATTACKED * len(r.y)), replace=False) for n, r in
           (("validation", validation), ("test", test))}  # fmt: skip
    on_test = attacked(test, model, hit["test"])
    targets = {
        "attacked validation points": attacked(validation, model, hit["validation"]),
        "attacked test points": on_test,
    }
    store = store_of(model, training)
    found: dict[str, Any] = {}

    def note(name: str, other: nn.Module) -> None:
        again = attacked(test, other, hit["test"])
        found[name] = {
            "clean": right_share(other, test.x, test.y), "attacked": right_share(other, *on_test),
            "attacked anew": right_share(other, *again),
        }  # fmt: skip

    note("no trim", model)
    count = round(TRIMMED * len(training.y))
    note("random", train(training.at(np.sort(generator.permutation(len(training.y))[count:])), "logistic", seed))
    for title, method in methods_of("logistic").items():
        fitted = method.fit_gradients(store)
        for name, target in targets.items():
            kept = np.sort(lowest_first(fitted, target)[count:])
            note(f"{title} / {name}", train(training.at(kept), "logistic", seed))
    return found
