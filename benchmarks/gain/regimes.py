"""The regimes in which cures are tried: data with wrong labels, and the training that a user would do.

Kinds (:data:`KINDS`): features of a frozen network with a perceptron on top that memorises its labels, or a linear head;
pretrained networks that are trained themselves; and from scratch, the draws of ``benchmarks/quality``. ``chosen_on`` tells
which of them were in view when constants were chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from quality import noise, sources
from quality.regimes import FULL, TEN_THIRTY, Noise, Problem, instance, planted
from quality.regimes import REGIMES as SMALLER
from quality.training import DEVICE, Recipe, train
from torch import Tensor, nn

from gain import features
from gain.finetuned import adapters, last_block

Kind = Literal["frozen", "fine-tuned", "scratch"]
KINDS: dict[Kind, str] = {
    "frozen": "Features of a frozen network, with a head that is trained",
    "fine-tuned": "Fine-tuned: the last block, or adapters",
    "scratch": "Networks trained from scratch",
}
"""Kind of training to its heading on the page."""
QUALITY = {**SMALLER, **FULL}
HEAD = Recipe(20, 128, 1e-3, decay=1e-4)
"""The head on frozen features: Adam, 20 epochs, batches of 128, a falling rate. It fits nearly all of its labels."""


Layers = Callable[[int, int], nn.Module]
"""From the number of features and of classes to a head."""


@dataclass(frozen=True)
class Regime:
    """A kind of data with a kind of wrong labels.

    Attributes:
        words: What it is, for the page.
        load: From data folder, cache folder and seed to a draw.
        kind: What is trained: a head on features of a frozen network, part of a pretrained network, or all from scratch.
        chosen_on: Whether it, or another draw of the same data, was in view when constants of the program were chosen.
        seeds: How many seeds.
    """

    words: str
    load: Callable[[Path, Path, int], Problem]
    kind: Kind
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
    train_features: np.ndarray, test_features: np.ndarray, given: np.ndarray, true: np.ndarray, test: np.ndarray,
    layers: Layers,
) -> Problem:  # fmt: skip
    """A draw whose inputs are standardised features; nothing validates."""
    mean, spread = train_features.mean(axis=0), train_features.std(axis=0) + 1e-6
    inputs, tested = (torch.from_numpy((one - mean) / spread).float() for one in (train_features, test_features))
    network = partial(layers, inputs.shape[1], int(true.max()) + 1)
    return Problem(inputs, given, true, (inputs[:0], true[:0]), (tested, test), network, HEAD)


def images(
    data: Path, cache: Path, seed: int, *, column: str | None = None, plant: Noise | None = None, layers: Layers = head,
    every: bool = False,
) -> Problem:  # fmt: skip
    """12,000 images of CIFAR-10, or every one of 50,000; with human labels the seed is that of the training alone."""
    found = features.of_all_images(data, cache) if every else features.of_images(data, cache)
    rows = np.arange(len(found["train"])) if every else features.image_rows()
    true = sources.cifar10_labels(data, "train", "label")[rows]
    given = sources.cifar10_labels(data, "train", column)[rows] if column else true
    if plant is not None:
        given = plant(standardised(found["train"]), true, seed)
    test = sources.cifar10_labels(data, "test", "label")[: features.IMAGES["test"]]
    return on_features(found["train"], found["test"], given, true, test, layers)


def texts(data: Path, cache: Path, seed: int, *, name: str, plant: Noise, layers: Layers = head) -> Problem:
    """Frozen MiniLM features with planted flips, which the seed draws."""
    found = features.of_texts(data, cache, name)
    true = found["train_label"].astype(np.int64)
    given = plant(standardised(found["train"]), true, seed)
    return on_features(found["train"], found["test"], given, true, found["test_label"].astype(np.int64), layers)


def standardised(values: np.ndarray) -> Tensor:
    """Each feature with mean 0 and standard deviation 1."""
    return torch.from_numpy((values - values.mean(axis=0)) / (values.std(axis=0) + 1e-6)).float()


def scratch(data: Path, cache: Path, seed: int, *, name: str, plant: Noise | None = None) -> Problem:
    """A draw of ``benchmarks/quality``, with other wrong labels than its own if asked."""
    del cache
    problem = QUALITY[name].load(data, seed)
    return problem if plant is None else replace(problem, given=plant(problem.inputs, problem.true, seed))


def right(_x: Tensor, y: np.ndarray, _seed: int) -> np.ndarray:
    """No label is wrong."""
    return y


def chance(_x: Tensor, y: np.ndarray, seed: int) -> np.ndarray:
    """Labels are dealt out anew, and have nothing to do with their samples."""
    return np.random.default_rng([seed, 91]).permutation(y)


def pair(rate: float) -> Noise:
    """Each class is mistaken for the next one."""
    return planted(rate, "pair")


def asymmetric(rate: float, *targets: int) -> Noise:
    """Each class is mistaken for one look-alike."""
    return lambda _x, y, seed: noise.to_look_alikes(y, targets, rate, seed=seed)


def _of_text(name: str, words: str, kind: str, plant: Noise, *, chosen_on: bool = True, **draw: Any) -> Regime:
    return Regime(f"{words}, {kind}", partial(texts, name=name, plant=plant, **draw), "frozen", chosen_on)


def _of_images(words: str, *, chosen_on: bool = True, **draw: Any) -> Regime:
    return Regime(f"CIFAR-10 features, {words}", partial(images, **draw), "frozen", chosen_on)


def _of_scratch(name: str, *, seeds: int = 5) -> Regime:
    return Regime(QUALITY[name].words, partial(scratch, name=name), "scratch", seeds=seeds)


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
    "imdb-symmetric": _of_text("imdb", "IMDB features", "symmetric 20 %", planted(0.2), chosen_on=False),
    "imdb-class-10-30": _of_text(
        "imdb", "IMDB features", "10 % of negative, 30 % of positive", TEN_THIRTY, chosen_on=False
    ),
    "imdb-instance": _of_text("imdb", "IMDB features", "instance-dependent 20 %", instance(0.2), chosen_on=False),
    "images-worst-linear": _of_images("worst human labels, linear head", column="n_worse_label", layers=nn.Linear),
    "images-symmetric-20-linear": _of_images("symmetric 20 %, linear head", plant=planted(0.2), layers=nn.Linear),
    "images-worst-50k": _of_images("50,000, worst human labels", column="n_worse_label", every=True),
    "images-aggregate-50k": _of_images("50,000, aggregate human labels", column="n_aggre_label", every=True),
    "ag-symmetric-linear": _of_text(
        "ag_news", "AG News features", "symmetric 20 %, linear head", planted(0.2), layers=nn.Linear
    ),
    "trec-pair-block": Regime(
        "TREC, pair 20 %, last block", partial(last_block, name="trec", plant=pair(0.2)), "fine-tuned"
    ),
    "ag-symmetric-block": Regime(
        "AG News, symmetric 20 %, last block", partial(last_block, name="ag_news", plant=planted(0.2)), "fine-tuned"
    ),
    "trec-pair-lora": Regime("TREC, pair 20 %, LoRA", partial(adapters, plant=pair(0.2)), "fine-tuned"),
    "adult-symmetric-20": _of_scratch("adult-symmetric-20", seeds=20),
    "adult-class-10-30": _of_scratch("adult-class-10-30", seeds=20),
    "bank-class-10-30": _of_scratch("bank-class-10-30", seeds=20),
    "hausa-distant": _of_scratch("hausa-distant", seeds=20),
    "trec-symmetric-20": _of_scratch("trec-symmetric-20"),
    "fashion-pair-20": _of_scratch("fashion-pair-20"),
    "fashion-symmetric-20-long": _of_scratch("fashion-symmetric-20-long"),
    "cifar10n-worst": _of_scratch("cifar10n-worst"),
    "ag-right": _of_text("ag_news", "AG News features", "labels as published", right),
    "trec-right": _of_text("trec", "TREC features", "labels as published", right),
    "imdb-right": _of_text("imdb", "IMDB features", "labels as published", right, chosen_on=False),
    "adult-right": Regime(
        "Adult, labels as published", partial(scratch, name="adult-symmetric-20", plant=right), "scratch", seeds=20
    ),
    "trec-chance": _of_text("trec", "TREC features", "labels at random", chance),
    "adult-chance": Regime(
        "Adult, labels at random", partial(scratch, name="adult-symmetric-20", plant=chance), "scratch"
    ),
}
"""Name to regime. Each was committed before its first run; none is taken out for its result."""

ON_GPU: dict[str, Regime] = {"cifar10n-worst-50k": _of_scratch("cifar10n-worst-50k")}
"""Run where they are named."""
EVERY = {**REGIMES, **ON_GPU}


def reduced(problem: Problem, size: int) -> Problem:
    """The first samples of a draw and one epoch, to try what is done with it."""
    return replace(
        problem, inputs=problem.inputs[:size], given=problem.given[:size], true=problem.true[:size],
        recipe=replace(problem.recipe, epochs=1, batch=min(problem.recipe.batch, size // 4)),
    )  # fmt: skip
