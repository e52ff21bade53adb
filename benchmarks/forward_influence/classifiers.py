"""Parts on classifiers of images: flipped labels, retraining, leaked test samples."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from resnet20 import resnet20
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor, nn

from forward_influence.images import cifar, convnet, flipped, load, losses, moved, perceptron, train
from forward_influence.methods import METHODS, Data, answers, kept_targets, timed
from gradsift.influence import InnerProduct
from gradsift.influence.forward import ForwardInfluence


def part_mislabel(data_folder: Path, seed: int) -> dict[str, Any]:
    """Score = minus the signed influence on a clean validation set's loss; AUROC and AP of the flipped labels."""
    found: dict[str, Any] = {}
    clean, validation = (
        load(data_folder, "fashion_mnist", "train", 2000, seed),
        load(data_folder, "fashion_mnist", "test", 500, seed),
    )
    labels, wrong = flipped(clean[1], 0.2, seed)
    data = (clean[0], labels)
    for setting, epochs in (("stopped early (4 epochs)", 4), ("fitted (40 epochs)", 40)):
        model, seconds = train(convnet, data, seed, epochs), {}
        asked = answers(METHODS, model, data, validation, seconds, each=False)
        scores = {name: -values for name, values in asked.items()}
        absolute = ForwardInfluence(absolute=True, show_progress=False).fit(model, data)
        scores["forward, SGD, absolute (no sign)"] = absolute.influence(validation)
        scores["forward, SGD, self-influence"] = absolute.self_influence()
        scores["inner product, self-influence"] = InnerProduct(show_progress=False).fit(model, data).self_influence()
        scores["loss"] = losses(model, data)
        scores["random"] = np.random.default_rng(seed).random(len(wrong))
        found[setting] = {
            "measures": {
                name: {"AUROC": roc_auc_score(wrong, values), "AP": average_precision_score(wrong, values)}
                for name, values in scores.items()
            },
            "seconds": seconds,
            "about": {"train loss of flipped": float(scores["loss"][wrong].mean()),
                      "train loss of the rest": float(scores["loss"][~wrong].mean())},
        }  # fmt: skip
    return found


def part_retraining(data_folder: Path, seed: int) -> dict[str, Any]:
    """Linear datamodeling score of 50 targets, and memorisation, against models of 100 random halves, trained twice."""
    clean, targets = (
        load(data_folder, "fashion_mnist", "train", 600, seed),
        load(data_folder, "fashion_mnist", "test", 50, seed),
    )
    labels, wrong = flipped(clean[1], 0.1, seed)
    data, size, halves, epochs = (clean[0], labels), 600, 100, 20
    generator = np.random.default_rng([seed, 11])
    inside = np.zeros((halves, size), dtype=bool)
    for row in inside:
        row[generator.choice(size, size // 2, replace=False)] = True
    truth, own = np.empty((2, halves, 50)), np.empty((2, halves, size))
    started = time.perf_counter()
    for half, row in enumerate(inside):
        part = (data[0][row], data[1][row])
        for again in range(2):
            model = train(perceptron, part, 1000 * seed + 2 * half + again, epochs, 0.01)
            truth[again, half], own[again, half] = losses(model, targets), losses(model, data)
    retraining = time.perf_counter() - started

    checkpoints: list[tuple[float, nn.Module]] = []
    model, seconds = train(perceptron, data, seed, epochs, 0.01, checkpoints), {}
    settings = {"show_progress": False}
    influence = answers(METHODS, model, data, targets, seconds)
    kept = kept_targets(**settings).fit(model, data)
    influence["forward, SGD, memorised targets kept"] = kept.influence(targets, each=True)
    influence["TracIn, 5 checkpoints"] = timed(seconds, "TracIn, 5 checkpoints", lambda: sum(
        rate * InnerProduct(**settings).fit(one, data).influence(targets, each=True) for rate, one in checkpoints
    ))  # fmt: skip
    influence["random"] = generator.standard_normal((size, 50))
    mean, memorised = truth.mean(axis=0), losses(model, targets) < 0.01
    lds: dict[str, dict[str, float]] = {}
    for name, values in influence.items():
        each = np.array([spearmanr(-(inside.astype(float) @ values[:, t]), mean[:, t]).statistic for t in range(50)])
        each = np.nan_to_num(each)
        lds[name] = of_targets(each, memorised)
    again = np.array([spearmanr(truth[0][:, t], truth[1][:, t]).statistic for t in range(50)])
    lds["another retraining"] = of_targets(again, memorised)

    def risen(loss: np.ndarray) -> np.ndarray:
        return np.array([loss[~inside[:, j], j].mean() - loss[inside[:, j], j].mean() for j in range(size)])

    rise, scores = risen(own.mean(axis=0)), {"loss": losses(model, data), "random": generator.random(size)}
    for name, method in METHODS.items():
        if name != "cosine":
            one = method(**settings).fit(model, data)
            scores[name] = np.abs(timed(seconds, f"{name}, self", one.self_influence))
    memorisation = {
        name: {"Spearman": float(spearmanr(values, rise).statistic), "recall at 60": recall(values, rise, 60)}
        for name, values in scores.items()
    }
    rises = risen(own[0]), risen(own[1])
    memorisation["another retraining"] = {
        "Spearman": float(spearmanr(*rises).statistic), "recall at 60": recall(rises[0], rises[1], 60)
    }  # fmt: skip
    return {
        "LDS": {"measures": lds, "seconds": seconds | {"200 retrainings": retraining},
                "about": {"share of targets below 0.01 nats": float(memorised.mean())}},
        "memorisation": {"measures": memorisation, "seconds": {n: s for n, s in seconds.items() if "self" in n},
                         "about": {"rise of flipped": float(rise[wrong].mean()),
                                   "rise of the rest": float(rise[~wrong].mean())}},
    }  # fmt: skip


def of_targets(values: np.ndarray, memorised: np.ndarray) -> dict[str, float]:
    """Means over targets, NaN where there is none."""
    parts = {"LDS": values, "LDS, memorised targets": values[memorised], "LDS, others": values[~memorised]}
    return {name: float(part.mean()) if len(part) else float("nan") for name, part in parts.items()}


def recall(scores: np.ndarray, truth: np.ndarray, count: int) -> float:
    """Share of the highest true values among as many highest scores."""
    return len(set(np.argsort(-scores)[:count]) & set(np.argsort(-truth)[:count])) / count


def part_leakage(data_folder: Path, seed: int) -> dict[str, Any]:
    """How often the original of a leaked test sample has the highest score, or one of the five highest."""
    data = load(data_folder, "fashion_mnist", "train", 1000, seed)
    model = train(convnet, data, seed, 40)
    found = {}
    for setting, change in (
        ("Fashion-MNIST, exact copies", lambda x: x),
        ("Fashion-MNIST, altered copies", lambda x: moved(x, seed)),
    ):
        found[setting] = leaked(model, data, change, 30, seed)
    images = cifar(data_folder, 200, seed)
    found["CIFAR-10 ResNet-20, exact copies"] = leaked(resnet20(data_folder), images, lambda x: x, 10, seed)
    return found


def leaked(model: nn.Module, data: Data, change: Callable[[Tensor], Tensor], count: int, seed: int) -> dict[str, Any]:
    chosen = np.random.default_rng([seed, 3]).choice(len(data[0]), count, replace=False)
    targets, seconds = (change(data[0][chosen]), data[1][chosen]), dict[str, float]()
    methods = {name: method for name, method in METHODS.items() if "5 steps" not in name}
    asked = answers(methods | {"forward, SGD, memorised targets kept": kept_targets}, model, data, targets, seconds)
    scores = {name: np.abs(values) for name, values in asked.items()}
    scores["nearest input"] = -torch.cdist(data[0].flatten(1), targets[0].flatten(1)).numpy()
    measures = {}
    for name, values in scores.items():
        above = (values > values[chosen, np.arange(count)]).sum(axis=0)
        ties = (values == values[chosen, np.arange(count)]).sum(axis=0) - 1
        rank = above + ties  # a tie counts against it
        measures[name] = {"top-1": float((rank < 1).mean()), "top-5": float((rank < 5).mean())}
    below = losses(model, targets) < 0.01
    return {
        "measures": measures,
        "seconds": seconds,
        "about": {"share of targets below 0.01 nats": float(below.mean())},
    }
