"""Parts on fairness: trims of fixed size, and two ways not to go past zero."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gradsift.tasks import BinaryClassification
from target_trim.methods import TARGETS, lowest_first, methods_of, store_of, target_of
from target_trim.tables import load, measures, train

SHARES = (0.01, 0.025, 0.05, 0.1)
STEPS, STEPPED, MOST = 10, 0.05, 0.1


def run_trims(data: Path, part: str, seed: int) -> dict[str, Any]:
    kind = "mlp" if part == "mlp" else "logistic"
    training, validation, test = load(data, part if part.startswith("german") else "adult", seed)
    model = train(training, kind, seed)
    found: dict[str, Any] = {"no trim": measures(model, test)}
    store = store_of(model, training)
    generator = np.random.default_rng([seed, 61])
    shuffled = generator.permutation(len(training.y))
    orders = {("random", "random"): shuffled}
    for title, method in methods_of(kind).items():
        fitted = method.fit_gradients(store)
        orders |= {(title, target): lowest_first(fitted, target_of(target, validation)) for target in TARGETS}
    held = measures(model, validation)
    for (title, target), order in orders.items():
        tried = {}
        for share in SHARES:
            other = train(training.at(np.sort(order[round(share * len(order)) :])), kind, seed)
            found[f"{title} / {target} / {share}"] = measures(other, test)
            tried[share] = measures(other, validation)
        if target in TARGETS[:3]:
            own = "demographic parity" if target == "demographic parity" else "equal opportunity"
            cheap = {s: one for s, one in tried.items() if one["accuracy"] >= held["accuracy"] - 1}
            best = min(cheap, key=lambda share: cheap[share][own], default=None)
            chosen = f"{title} / {target} / {best}"
            found[f"{title} / {target} / chosen"] = found[chosen if best is not None else "no trim"]
    return found


def run_steps(data: Path, _part: str, seed: int) -> dict[str, Any]:
    """Two ways not to go past zero: small steps with new influence after each, and a stop at the predicted zero."""
    training, validation, test = load(data, "adult", seed)
    model = train(training, "logistic", seed)
    size = len(training.y)
    shuffled = np.random.default_rng([seed, 61]).permutation(size)
    random = train(training.at(np.sort(shuffled[round(STEPPED * size) :])), "logistic", seed)
    found: dict[str, Any] = {"no trim": measures(model, test), f"random / random / {STEPPED}": measures(random, test)}
    for title, wanted in (("inner product", TARGETS[:3]), ("exact Hessian", TARGETS[:2])):
        for name in wanted:
            kept, current, target = np.arange(size), model, target_of(name, validation)
            for _ in range(STEPS):
                store = store_of(current, training.at(kept))
                fitted = methods_of("logistic")[title].fit_gradients(store)
                kept = np.delete(kept, lowest_first(fitted, target)[: round(STEPPED * size / STEPS)])
                current = train(training.at(kept), "logistic", seed)
            found[f"{title}, {STEPS} steps / {name} / {STEPPED}"] = measures(current, test)
    exact = methods_of("logistic")["exact Hessian"].fit_gradients(store_of(model, training))
    for name in TARGETS[:3]:
        target = target_of(name, validation)
        influence = exact.influence(target)
        order = np.argsort(influence, kind="stable")[: round(MOST * size)]
        falls = np.cumsum(-influence[order]) / size
        count = min(int(np.searchsorted(falls, target.value(model, BinaryClassification()))) + 1, len(order))
        other = train(training.at(np.delete(np.arange(size), order[:count])), "logistic", seed)
        found[f"exact Hessian / {name} / predicted"] = measures(other, test) | {"removed": count / size}
    return found
