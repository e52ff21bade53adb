"""The regimes in which cures are tried: data with wrong labels, and the training that a user would do.

Two kinds. *Pretrained*: features of a frozen network with a perceptron on top that memorises its labels. *From scratch*:
the draws of ``benchmarks/quality``. ``chosen_on`` tells which of them were in view when constants were chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from quality import noise, sources
from quality.regimes import FULL, Noise, Problem, instance, planted
from quality.regimes import REGIMES as SMALLER
from quality.training import DEVICE, Recipe, train
from torch import Tensor, nn

from gain import features

QUALITY = {**SMALLER, **FULL}
HEAD = Recipe(20, 128, 1e-3, decay=1e-4)
"""The head on frozen features: Adam, 20 epochs, batches of 128, a falling rate. It fits nearly all of its labels."""


@dataclass(frozen=True)
class Regime:
    """A kind of data with a kind of wrong labels.

    Attributes:
        words: What it is, for the page.
        load: From data folder, cache folder and seed to a draw.
        pretrained: Whether inputs are features of a frozen network.
        chosen_on: Whether it, or another draw of the same data, was in view when constants of the program were chosen.
        seeds: How many seeds.
    """

    words: str
    load: Callable[[Path, Path, int], Problem]
    pretrained: bool
    chosen_on: bool = True
    seeds: int = 5


class Training:
    """The user's training of a regime, ``train_fn(dataset, *, seed, after_epoch)``, which takes soft targets and weights.

    Args:
        problem: The draw.

    Attributes:
        count: Trainings so far.
    """

    accepts: ClassVar[set[str]] = {"soft", "weight"}

    def __init__(self, problem: Problem) -> None:
        self._problem, self.count = problem, 0

    def __call__(self, dataset: Any, *, seed: int, after_epoch: Callable[[nn.Module], None] | None = None) -> nn.Module:
        """Trains on ``(X, y)``, ``(X, Y)`` with soft targets, or ``(X, y, w)``."""
        self.count += 1
        inputs, labels, *weights = dataset
        return train(
            self._problem.network, self._problem.recipe, torch.as_tensor(inputs), np.asarray(labels), seed=seed,
            weights=np.asarray(weights[0]) if weights else None,
            on_epoch=None if after_epoch is None else lambda _epoch, model: after_epoch(model),
        )  # fmt: skip


def head(inputs: int, classes: int) -> nn.Module:
    """A perceptron of 128 hidden units."""
    return nn.Sequential(nn.Linear(inputs, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, classes)).to(DEVICE)


def on_features(
    train_features: np.ndarray, test_features: np.ndarray, given: np.ndarray, true: np.ndarray, test: np.ndarray
) -> Problem:
    """A draw whose inputs are standardised features; nothing validates."""
    mean, spread = train_features.mean(axis=0), train_features.std(axis=0) + 1e-6
    inputs, tested = (torch.from_numpy((one - mean) / spread).float() for one in (train_features, test_features))
    network = partial(head, inputs.shape[1], int(true.max()) + 1)
    return Problem(inputs, given, true, (inputs[:0], true[:0]), (tested, test), network, HEAD)


def images(data: Path, cache: Path, seed: int, *, column: str | None = None, plant: Noise | None = None) -> Problem:
    """12,000 images of CIFAR-10; with human labels the seed is that of the training alone."""
    found, rows = features.of_images(data, cache), features.image_rows()
    true = sources.cifar10_labels(data, "train", "label")[rows]
    given = sources.cifar10_labels(data, "train", column)[rows] if column else true
    if plant is not None:
        given = plant(standardised(found["train"]), true, seed)
    test = sources.cifar10_labels(data, "test", "label")[: features.IMAGES["test"]]
    return on_features(found["train"], found["test"], given, true, test)


def texts(data: Path, cache: Path, seed: int, *, name: str, plant: Noise) -> Problem:
    """Frozen MiniLM features with planted flips, which the seed draws."""
    found = features.of_texts(data, cache, name)
    true = found["train_label"].astype(np.int64)
    given = plant(standardised(found["train"]), true, seed)
    return on_features(found["train"], found["test"], given, true, found["test_label"].astype(np.int64))


def standardised(values: np.ndarray) -> Tensor:
    """Each feature with mean 0 and standard deviation 1."""
    return torch.from_numpy((values - values.mean(axis=0)) / (values.std(axis=0) + 1e-6)).float()


def scratch(data: Path, cache: Path, seed: int, *, name: str) -> Problem:
    """A draw of ``benchmarks/quality``."""
    del cache
    return QUALITY[name].load(data, seed)


def pair(rate: float) -> Noise:
    """Each class is mistaken for the next one."""
    return planted(rate, "pair")


def asymmetric(rate: float, *targets: int) -> Noise:
    """Each class is mistaken for one look-alike."""
    return lambda _x, y, seed: noise.to_look_alikes(y, targets, rate, seed=seed)


def _of_text(name: str, words: str, kind: str, plant: Noise, *, chosen_on: bool = True) -> Regime:
    return Regime(f"{words}, {kind}", partial(texts, name=name, plant=plant), pretrained=True, chosen_on=chosen_on)


def _of_images(words: str, *, chosen_on: bool = True, **draw: Any) -> Regime:
    return Regime(f"CIFAR-10 features, {words}", partial(images, **draw), pretrained=True, chosen_on=chosen_on)


def _of_scratch(name: str, *, seeds: int = 5) -> Regime:
    return Regime(QUALITY[name].words, partial(scratch, name=name), pretrained=False, chosen_on=True, seeds=seeds)


REGIMES: dict[str, Regime] = {
    "images-worst": _of_images("worst human labels", column="n_worse_label"),
    "images-aggregate": _of_images("aggregate human labels", column="n_aggre_label"),
    "images-random1": _of_images("first annotator's labels", column="n_random_label1"),
    "images-symmetric-20": _of_images("symmetric 20 %", plant=planted(0.2)),
    "images-instance-40": _of_images("instance-dependent 40 %", plant=instance(0.4)),
    "trec-symmetric": _of_text("trec", "TREC features", "symmetric 20 %", planted(0.2)),
    "trec-pair": _of_text("trec", "TREC features", "pair 20 %", pair(0.2)),
    "ag-symmetric": _of_text("ag_news", "AG News features", "symmetric 20 %", planted(0.2)),
    "ag-pair": _of_text("ag_news", "AG News features", "pair 20 %", pair(0.2)),
    "ag-instance": _of_text("ag_news", "AG News features", "instance-dependent 40 %", instance(0.4)),
    "sst2-symmetric": _of_text("glue_sst2", "SST-2 features", "symmetric 20 %", planted(0.2), chosen_on=False),
    "sst2-instance": _of_text("glue_sst2", "SST-2 features", "instance-dependent 20 %", instance(0.2), chosen_on=False),
    "adult-symmetric-20": _of_scratch("adult-symmetric-20", seeds=20),
    "adult-class-10-30": _of_scratch("adult-class-10-30", seeds=20),
    "bank-class-10-30": _of_scratch("bank-class-10-30", seeds=20),
    "hausa-distant": _of_scratch("hausa-distant", seeds=20),
    "trec-symmetric-20": _of_scratch("trec-symmetric-20"),
    "fashion-pair-20": _of_scratch("fashion-pair-20"),
    "fashion-symmetric-20-long": _of_scratch("fashion-symmetric-20-long"),
    "cifar10n-worst": _of_scratch("cifar10n-worst"),
}
"""Name to regime. The list was committed before the first run of the whole; none is taken out for its result."""

ON_GPU: dict[str, Regime] = {"cifar10n-worst-50k": _of_scratch("cifar10n-worst-50k")}
"""Run where they are named."""
EVERY = {**REGIMES, **ON_GPU}


def reduced(problem: Problem, size: int) -> Problem:
    """The first samples of a draw and one epoch, to try what is done with it."""
    return replace(
        problem, inputs=problem.inputs[:size], given=problem.given[:size], true=problem.true[:size],
        recipe=replace(problem.recipe, epochs=1, batch=min(problem.recipe.batch, size // 4)),
    )  # fmt: skip
