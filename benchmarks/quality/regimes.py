"""The regimes: a data set with its kind of label noise, and the recipe that trains on it.

``REGIMES[name].load(data, seed)`` draws a training set with given and true labels, a clean validation split that only
methods with validation may read, and a test set. Planted noise and subsets differ from seed to seed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gradsift.evaluation import flip_labels
from quality import noise, sources
from quality.networks import (
    QuestionNetwork,
    cifar_network,
    fashion_network,
    fast_resnet,
    half_moons_network,
    linear_toy_network,
    perceptron,
)
from quality.sources import Labelled
from quality.training import Recipe

Noise = Callable[[Tensor, np.ndarray, int], np.ndarray]
"""From inputs, true labels and a seed to given labels."""


@dataclass(frozen=True)
class Problem:
    """One draw of a regime.

    Attributes:
        inputs: Training inputs, shape (n, ...).
        given: Given labels, shape (n,).
        true: True labels, shape (n,).
        validation: Clean inputs and labels, for methods that are allowed to read them.
        test: Inputs and labels that are read for accuracy alone.
        network: Makes an untrained network.
        recipe: How it is trained.
        groups: Group of each sample whose share is watched, shape (n,); no method reads it.
        test_groups: The same of the test set.
    """

    inputs: Tensor
    given: np.ndarray
    true: np.ndarray
    validation: Labelled
    test: Labelled
    network: Callable[[], nn.Module]
    recipe: Recipe
    groups: np.ndarray | None = None
    test_groups: np.ndarray | None = None

    @property
    def wrong(self) -> np.ndarray:
        """Which given labels are wrong, shape (n,), boolean."""
        return self.given != self.true

    @property
    def key(self) -> str:
        """What rows of another recipe, network or draw are told apart by."""
        plain = asdict(Recipe(0, 0, 0))
        chosen = {name: value for name, value in asdict(self.recipe).items() if value != plain[name]}
        digest = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode())
        torch.manual_seed(0)
        digest.update(str(self.network()).encode())
        for array in (self.given, self.true, self.inputs[:100].numpy()):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:12]


@dataclass(frozen=True)
class Regime:
    """A kind of data with a kind of noise.

    Attributes:
        words: What it is, for the page.
        load: From the data folder and a seed to a draw.
        seeds: How many seeds, where more than the usual number are cheap.
    """

    words: str
    load: Callable[[Path, int], Problem]
    seeds: int = 0


def parts(size: int, counts: tuple[int, ...], seed: int) -> list[np.ndarray]:
    """Disjoint random positions, by seed."""
    order = np.random.default_rng([seed, 50]).permutation(size)
    return np.split(order[: sum(counts)], np.cumsum(counts)[:-1])


def fashion(data: Path, seed: int, *, plant: Noise, epochs: int = 10) -> Problem:
    """6,000 images to train, 1,000 to validate; the other 3,000 and the test subset to test."""
    (images, labels), (test_images, test_labels) = (sources.fashion_mnist(data, part) for part in ("train", "test"))
    train, held, rest = parts(len(labels), (6000, 1000, 3000), seed)
    test = torch.cat([test_images, images[rest]]), np.concatenate([test_labels, labels[rest]])
    given = plant(images[train], labels[train], seed)
    recipe = Recipe(epochs, 128, 2e-3, every=max(1, epochs // 20))
    return Problem(images[train], given, labels[train], (images[held], labels[held]), test, fashion_network, recipe)


def of_each_class(labels: np.ndarray, counts: np.ndarray, held: np.ndarray, draw: list[int]) -> list[np.ndarray]:
    """Disjoint random positions: ``counts[k]`` of class k, and as held out ``held[k]``; in random order, by seed."""
    generator = np.random.default_rng(draw)
    own = [generator.permutation(np.flatnonzero(labels == label)) for label in range(len(counts))]
    train = [rows[:count] for rows, count in zip(own, counts, strict=True)]
    rest = [rows[count : count + few] for rows, count, few in zip(own, counts, held, strict=True)]
    return [generator.permutation(np.concatenate(each)) for each in (train, rest)]


def long_tail(data: Path, seed: int, *, plant: Noise) -> Problem:
    """Classes of 900 images down to 45, in an order that the seed draws; 100 of each validate, 200 of each test.

    The classes are watched. With half of the images, twice the epochs give as many steps as elsewhere.
    """
    (images, labels), test = (sources.fashion_mnist(data, part) for part in ("train", "test"))
    counts = np.round(900 * 20 ** (-np.arange(10) / 9)).astype(int)
    counts = counts[np.random.default_rng([seed, 57]).permutation(10)]
    train, held = of_each_class(labels, counts, np.full(10, 100), [seed, 58])
    return Problem(
        images[train], plant(images[train], labels[train], seed), labels[train], (images[held], labels[held]), test,
        fashion_network, Recipe(20, 128, 2e-3), groups=labels[train], test_groups=test[1],
    )  # fmt: skip


SHIRT, BAG, BOOT = 6, 8, 9


def rare_kind(data: Path, seed: int, *, plant: Noise, kind: int) -> Problem:
    """Shirts share their label with one other kind, 28 of its 928 images (3 %); 600 images of each of the other classes.

    The rare kind is watched: boots look like another class, sneakers; bags like none. The validation split has the same
    mixture; the test subset has as many of the rare kind as shirts, so that accuracy on them can be read.
    """
    (images, kinds), (test_images, test_kinds) = (sources.fashion_mnist(data, part) for part in ("train", "test"))
    counts, held, merged = np.full(10, 600), np.full(10, 65), np.arange(10)
    counts[[SHIRT, kind]], held[[SHIRT, kind]] = (900, 28), (97, 3)
    merged[kind:] -= 1
    merged[kind] = merged[SHIRT]
    train, rest = of_each_class(kinds, counts, held, [seed, 58])
    labels, test = merged[kinds], (test_images, merged[test_kinds])
    return Problem(
        images[train], plant(images[train], labels[train], seed), labels[train], (images[rest], labels[rest]), test,
        nine_classes, Recipe(10, 128, 2e-3),
        groups=(kinds[train] == kind).astype(np.int64), test_groups=(test_kinds == kind).astype(np.int64),
    )  # fmt: skip


def nine_classes() -> nn.Module:
    """The network for Fashion-MNIST with one output less."""
    return nn.Sequential(*fashion_network()[:-1], nn.Linear(64, 9))


def cifar(data: Path, seed: int, *, column: str | None = None, plant: Noise | None = None) -> Problem:
    """6,000 images to train, 1,000 to validate, 5,000 of the test set to test."""
    labels = sources.cifar10_labels(data, "train", "label")
    train, held = parts(len(labels), (6000, 1000), seed)
    images, test = sources.cifar10(data, "train", train), np.arange(5000)
    if column is not None:
        given = sources.cifar10_labels(data, "train", column)[train]
    elif plant is not None:
        given = plant(images, labels[train], seed)
    return Problem(
        images, given, labels[train],
        (sources.cifar10(data, "train", held), labels[held]),
        (sources.cifar10(data, "test", test), sources.cifar10_labels(data, "test", "label")[test]),
        cifar_network, Recipe(20, 128, 0.1, "sgd", 5e-4, mirrored=True),
    )  # fmt: skip


def whole_cifar(data: Path, seed: int, *, column: str) -> Problem:
    """All 50,000 images to train; of the 10,000 test images 1,000 validate and 9,000 test."""
    labels, test_labels = (sources.cifar10_labels(data, part, "label") for part in ("train", "test"))
    tenth = len(test_labels) // 10
    held, test = parts(len(test_labels), (tenth, len(test_labels) - tenth), seed)
    given = sources.cifar10_labels(data, "train", column)
    held_set, test_set = ((sources.cifar10(data, "test", rows), test_labels[rows]) for rows in (held, test))
    recipe = Recipe(20, 512, 0.4, "sgd", 5e-4, mirrored=True, shifted=4, half=True)
    return Problem(
        sources.cifar10(data, "train", np.arange(len(labels))), given, labels, held_set, test_set, fast_resnet, recipe
    )


def trec(data: Path, seed: int, *, plant: Noise) -> Problem:
    """4,400 questions to train, 500 to validate; the other 552 and the test set to test."""
    (pieces, labels), (test_pieces, test_labels) = (sources.questions(data, part) for part in ("train", "test"))
    train, held, rest = parts(len(labels), (4400, 500, 552), seed)
    test = torch.cat([test_pieces, pieces[rest]]), np.concatenate([test_labels, labels[rest]])
    network = partial(QuestionNetwork, data / "models" / "bert-tiny-question-clf", 6)
    given = plant(pieces[train], labels[train], seed)
    return Problem(
        pieces[train], given, labels[train], (pieces[held], labels[held]), test, network, Recipe(8, 32, 5e-4)
    )


def hausa(data: Path, seed: int) -> Problem:
    """All 2,045 titles with distant labels; the seed is that of the training alone."""
    (inputs, true), given, validation, test = sources.hausa(data)
    return Problem(inputs, given, true, validation, test, partial(perceptron, inputs.shape[1], 5), Recipe(15, 64, 2e-3))


def tabular(
    data: Path, seed: int, *, name: str, plant: Noise, balanced: bool = False, tested: int = 3000, draw: int = 50
) -> Problem:
    """6,000 rows to train, 1,000 to validate, 3,000 to test (all from the training file); Adult's groups are watched."""
    labels, generator = sources.table_labels(data, name), np.random.default_rng([seed, draw])
    chosen = generator.permutation(len(labels))
    if balanced:
        few = np.bincount(labels).min()
        chosen = generator.permutation(np.concatenate([chosen[labels[chosen] == k][:few] for k in (0, 1)]))
    chosen = chosen[: 7000 + tested]
    inputs, true = sources.table_rows(data, name, chosen, fit=6000)
    groups = sources.adult_groups(data, chosen) if name == "adult" else None
    watched = (None, None) if groups is None else (groups[:6000], groups[7000:])
    split = [slice(0, 6000), slice(6000, 7000), slice(7000, None)]
    train, held, test = ((inputs[one], true[one]) for one in split)
    network = partial(perceptron, inputs.shape[1], 2)
    return Problem(train[0], plant(*train, seed), train[1], held, test, network, Recipe(20, 64, 2e-3), *watched)


def linear_toy(data: Path, seed: int) -> Problem:
    """The paper's 150 rows; half of its 100 test rows validate. The seed is that of the weights alone."""
    (inputs, true), given, (x, y) = sources.linear_toy(data)
    recipe = Recipe(400, 0, 0.1, falling=False, every=20)
    return Problem(inputs, given, true, (x[:50], y[:50]), (x[50:], y[50:]), linear_toy_network, recipe)


def half_moons(data: Path, seed: int) -> Problem:
    """250 points, ten flipped in each class; 100 points validate, 1,000 test."""
    del data
    (inputs, true), held, test = (sources.half_moons(size, 3 * seed + k) for k, size in enumerate((250, 100, 1000)))
    generator, given = np.random.default_rng([seed, 53]), true.copy()
    for label in (0, 1):
        flipped = generator.choice(np.flatnonzero(true == label), 10, replace=False)
        given[flipped] = 1 - label
    recipe = Recipe(5000, 0, 1e-3, decay=1e-4, falling=False, every=250)
    return Problem(inputs, given, true, held, test, half_moons_network, recipe)


def planted(rate: float, kind: str = "symmetric") -> Noise:
    """Symmetric or pair noise."""
    return lambda _x, y, seed: flip_labels(y, rate, kind=kind, seed=seed)  # type: ignore[arg-type]


def instance(rate: float) -> Noise:
    """Instance-dependent noise."""
    return lambda x, y, seed: noise.by_instance(x.numpy(), y, rate, seed=seed)


def classes(*rows: tuple[float, ...]) -> Noise:
    """Class-dependent noise by its transition matrix."""
    return lambda _x, y, seed: noise.by_class(y, rows, seed=seed)


def look_alikes(rate: float, *targets: int) -> Noise:
    """Asymmetric noise to one look-alike of each class."""
    return lambda _x, y, seed: noise.to_look_alikes(y, targets, rate, seed=seed)


TEN_THIRTY = classes((0.9, 0.1), (0.3, 0.7))
QUESTION_LOOK_ALIKES = (1, 2, 1, 2, 2, 1)
"""ABBR to DESC, DESC to ENTY, ENTY to DESC, HUM and LOC to ENTY, NUM to DESC."""
REGIMES: dict[str, Regime] = {
    "fashion-symmetric-10": Regime("Fashion-MNIST, symmetric 10 %", partial(fashion, plant=planted(0.1))),
    "fashion-pair-20": Regime("Fashion-MNIST, pair 20 %", partial(fashion, plant=planted(0.2, "pair"))),
    "cifar10n-worst": Regime("CIFAR-10N worst, human", partial(cifar, column="n_worse_label")),
    "trec-symmetric-20": Regime("TREC questions, symmetric 20 %", partial(trec, plant=planted(0.2))),
    "adult-symmetric-20": Regime("Adult, symmetric 20 %", partial(tabular, name="adult", plant=planted(0.2))),
    "cifar10n-aggre": Regime("CIFAR-10N aggregate, human", partial(cifar, column="n_aggre_label")),
    "fashion-pair-10-long": Regime(
        "Fashion-MNIST, pair 10 %, 40 epochs", partial(fashion, plant=planted(0.1, "pair"), epochs=40)
    ),
    "fashion-symmetric-20-long": Regime(
        "Fashion-MNIST, symmetric 20 %, 40 epochs", partial(fashion, plant=planted(0.2), epochs=40)
    ),
    "fashion-symmetric-20": Regime("Fashion-MNIST, symmetric 20 %", partial(fashion, plant=planted(0.2))),
    "fashion-symmetric-40": Regime("Fashion-MNIST, symmetric 40 %", partial(fashion, plant=planted(0.4))),
    "fashion-instance-20": Regime("Fashion-MNIST, instance-dependent 20 %", partial(fashion, plant=instance(0.2))),
    "fashion-instance-40": Regime("Fashion-MNIST, instance-dependent 40 %", partial(fashion, plant=instance(0.4))),
    "cifar10n-rand1": Regime("CIFAR-10N random 1, human", partial(cifar, column="n_random_label1")),
    "cifar10-symmetric-20": Regime("CIFAR-10, symmetric 20 %", partial(cifar, plant=planted(0.2))),
    "trec-asymmetric-20": Regime(
        "TREC questions, asymmetric 20 %", partial(trec, plant=look_alikes(0.2, *QUESTION_LOOK_ALIKES))
    ),
    "hausa-distant": Regime("Hausa news, distant supervision", hausa),
    "adult-symmetric-5": Regime("Adult, symmetric 5 %", partial(tabular, name="adult", plant=planted(0.05))),
    "adult-class-10-30": Regime("Adult, 10 % of no and 30 % of yes", partial(tabular, name="adult", plant=TEN_THIRTY)),
    "bank-symmetric-20": Regime(
        "Bank marketing, symmetric 20 %", partial(tabular, name="bank", plant=planted(0.2), balanced=True)
    ),
    "bank-class-10-30": Regime(
        "Bank marketing, 10 % of no and 30 % of yes",
        partial(tabular, name="bank", plant=TEN_THIRTY, balanced=True),
    ),
    "linear-toy": Regime("Linear toy of the paper, 10 of 150", linear_toy),
    "half-moons": Regime("Half moons, 20 of 250", half_moons, seeds=20),
    "fashion-long-tail": Regime(
        "Fashion-MNIST, classes of 900 down to 45, symmetric 20 %", partial(long_tail, plant=planted(0.2))
    ),
    "fashion-rare-kind": Regime(
        "Fashion-MNIST, a few boots among the shirts, symmetric 20 %", partial(rare_kind, kind=BOOT, plant=planted(0.2))
    ),
    "fashion-rare-apart": Regime(
        "Fashion-MNIST, a few bags among the shirts, symmetric 20 %", partial(rare_kind, kind=BAG, plant=planted(0.2))
    ),
    "adult-groups": Regime(
        "Adult, groups of sex and race, symmetric 20 %",
        partial(tabular, name="adult", plant=planted(0.2), tested=25_561, draw=56),
    ),
}
"""Name to regime, in the order in which they are run."""

FULL: dict[str, Regime] = {
    f"cifar10n-{name}-50k": Regime(f"CIFAR-10N {words}, human, all 50,000", partial(whole_cifar, column=column))
    for name, words, column in (
        ("aggre", "aggregate", "n_aggre_label"),
        ("rand1", "random 1", "n_random_label1"),
        ("worst", "worst", "n_worse_label"),
    )
}
"""With ``--full``, where a GPU is at hand."""
