"""Part on seconds against the number of targets."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from resnet20 import resnet20

from forward_influence.facts import encoded, language_model, sentences
from forward_influence.images import cifar, load, perceptron, train
from forward_influence.methods import METHODS


def part_cost(data_folder: Path, seed: int) -> dict[str, Any]:
    """Seconds, fit and influence(each=True) together, against the number of targets."""
    small = (
        load(data_folder, "fashion_mnist", "train", 1000, seed),
        load(data_folder, "fashion_mnist", "test", 1000, seed),
    )
    images = cifar(data_folder, 100, seed)
    story, tokenizer = language_model(data_folder, "stories15M", None)
    rows, _, queries, _ = sentences(seed, lands=9, others=0)
    texts, asked = encoded(tokenizer, rows[:48]), encoded(tokenizer, queries)
    cases = {
        "MLP, 51 k weights, 1,000 samples": (
            train(perceptron, small[0], seed, 5, 0.01), *small, "classification", (1, 10, 100, 1000)
        ),
        "ResNet-20, 0.27 M weights, 100 samples": (resnet20(data_folder), images, images, "classification", (1, 10, 50)),
        "stories15M, 15 M weights, 48 sentences": (story.eval(), texts, asked, "causal-lm", (1, 4, 8)),
    }  # fmt: skip
    found = {}
    for setting, (model, data, targets, task, counts) in cases.items():
        measures: dict[str, dict[str, float]] = {}
        for name in ("forward, SGD", "inner product"):
            measures[name] = {}
            for count in counts:
                named = isinstance(targets, dict)
                some = {k: v[:count] for k, v in targets.items()} if named else tuple(t[:count] for t in targets)
                one = METHODS[name](show_progress=False, task=task)
                started = time.process_time()
                one.fit(model, data).influence(some, each=True)
                measures[name][str(count)] = time.process_time() - started
        weights = sum(p.numel() for p in model.parameters())
        size = len(data["labels"]) if isinstance(data, dict) else len(data[0])
        found[setting] = {"measures": measures, "seconds": {}, "about": {"n x p in GB": 4 * weights * size / 1e9}}
    return found
