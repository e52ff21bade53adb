"""Flagged samples are unlearned from a last layer, beside training it again."""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from frame.rows import machine
from torch import Tensor, nn
from torch.nn import functional

import gradsift
from class_removal.problems import CLASSES, Split, parts_of, train_grey
from class_removal.removal import ROWS
from gradsift.cleaning.unlearn import unlearn
from gradsift.evaluation import flip_labels
from gradsift.influence.generalized import GeneralizedInfluence

DECAY = 1e-3


def run_unlearning(arguments: argparse.Namespace, seed: int) -> None:
    """Fashion-MNIST, 20 % wrong labels: the last layer is fitted to its minimum, audited, and rid of what is flagged."""
    key = {"model": "fashion_mnist", "seed": seed}
    if ROWS.have(**key):
        return
    generator = np.random.default_rng([seed, 3])
    train, validation, test = parts_of(arguments.data, "fashion_mnist", generator)
    given = torch.from_numpy(flip_labels(train.labels.numpy(), 0.2, seed=seed))
    network = train_grey(Split(train.inputs, given), seed)
    with torch.no_grad():
        features = [torch.cat([network[:-1](x) for x in one.inputs.split(500)]) for one in (train, validation, test)]
    mean, deviation = features[0].mean(dim=0), features[0].std(dim=0).clamp_min(1e-3)
    x, held, tested = ((one - mean) / deviation / one.shape[1] ** 0.5 for one in features)
    head, seconds = fitted(x, given), {}
    with tempfile.TemporaryDirectory() as folder:
        audit = gradsift.audit(
            head, (x, given), detector="l2", contamination=0.15, output=Path(folder) / "a", show_progress=False
        )
        wrong = (given != train.labels).numpy()
        started = time.perf_counter()
        settings: dict[str, Any] = {"layers": "all", "weight_decay": DECAY, "solver": "conjugate-gradients",
                                    "tolerance": 1e-4, "batch_size": 3000, "show_progress": False}  # fmt: skip
        once = unlearn(head, (x, given), audit, **settings)
        seconds["unlearn"] = time.perf_counter() - started
        chosen = unlearn(head, (x, given), audit, validation=(held, validation.labels), **settings)
        started = time.perf_counter()
        kept = torch.from_numpy(audit.kept)
        again = fitted(x[kept], given[kept])
        seconds["train again"] = time.perf_counter() - started
        drawn_ = np.sort(generator.choice(len(x), len(audit.flagged_positions), replace=False))
        method = GeneralizedInfluence(mode="all", weight_decay=DECAY, solver="conjugate-gradients", tolerance=1e-4,
                                      batch_size=3000, show_progress=False).fit(head, (x, given))  # fmt: skip
        step = method.step(drawn_)
        random_ = copy.deepcopy(head)
        with torch.no_grad():
            for name, parameter in random_.named_parameters():
                parameter += step[name][0]
    arms = {"as it is": head, "random samples unlearned": random_, "flagged unlearned": once.model,
            "flagged unlearned, length by validation": chosen.model, "trained again without flagged": again}  # fmt: skip
    vectors = {name: torch.cat([p.detach().flatten() for p in one.parameters()]) for name, one in arms.items()}
    distance = float((vectors["as it is"] - vectors["trained again without flagged"]).norm())
    row = key | {
        "flagged": len(audit.flagged_positions), "samples": len(x),
        "precision": float(wrong[audit.flagged_positions].mean()),
        "multiple": chosen.multiple, "seconds": seconds, "weights": len(vectors["as it is"]),
        "arms": {name: {
            "accuracy": float((one(tested).argmax(dim=1) == test.labels).double().mean()),
            "distance": float((vectors[name] - vectors["trained again without flagged"]).norm()) / distance,
        } for name, one in arms.items()},
        "machine": machine(),
    }  # fmt: skip
    ROWS.add(row)
    print(row, flush=True)


def fitted(features: Tensor, labels: Tensor) -> nn.Module:
    """A linear classifier at the minimum of mean loss plus ``DECAY / 2 |w|^2``."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(features.shape[1], CLASSES))
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=500, tolerance_grad=1e-6, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        penalty = DECAY / 2 * sum((p.square().sum() for p in model.parameters()), torch.zeros(()))
        loss = functional.cross_entropy(model(features), labels) + penalty
        loss.backward()
        return loss

    optimizer.step(closure)
    model.zero_grad()
    return model.eval()
