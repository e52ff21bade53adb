"""Models and samples: a class of MNIST or CIFAR-10, or a backdoor, that is to be removed."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from frame.images import IMAGENET, grey, standardised
from frame.images import cifar10 as cifar10_images
from frame.training import train_epochs
from quality.sources import cifar10_labels
from resnet20 import resnet20
from torch import Tensor, nn
from torch.nn import functional

CLASSES, GRADIENT_SAMPLES = 10, 256
WRONG = 4
"""The label of poisoned samples."""
HESSIAN_SAMPLES = {"mnist": 128, "cifar10": 64}
CHECKERBOARD = (torch.arange(28)[:, None] + torch.arange(28)) % 2 * (16 / 255)
"""What poisoned images have added, of grey values in [0, 1]."""


class Split(NamedTuple):
    inputs: Tensor
    labels: Tensor

    def take(self, positions: np.ndarray) -> Split:
        return Split(self.inputs[positions], self.labels[positions])


class Job(NamedTuple):
    """A model, and samples: of the class and of others to compute with, to choose the length on, to report on."""

    model: nn.Module
    removed: Split
    kept: Split
    validation: Split
    test: Split
    retrained: nn.Module | None


def drawn(labels: np.ndarray, kind: int, own: int, others: int, generator: np.random.Generator) -> np.ndarray:
    """Positions of some samples of a class and of other classes; all where there are fewer."""
    parts = [np.flatnonzero(labels == kind), np.flatnonzero(labels != kind)]
    sizes = (own, others)
    picked = [generator.choice(p, min(n, len(p)), replace=False) for p, n in zip(parts, sizes, strict=True)]
    return np.concatenate(picked)


def mnist(data: Path, kind: int, seed: int) -> Job:
    generator = np.random.default_rng([seed, 1])
    train, validation, test = parts_of(data, "mnist", generator)
    model = train_grey(train, seed)
    labels = train.labels.numpy()
    retrained = train_grey(train.take(np.flatnonzero(labels != kind)), seed)
    removed = drawn(labels, kind, GRADIENT_SAMPLES, 0, generator)
    kept = drawn(labels, kind, 0, HESSIAN_SAMPLES["mnist"], generator)
    return Job(model, train.take(removed), train.take(kept), validation, test, retrained)


def grey_part(data: Path, name: str, part: str) -> Split:
    pixels, labels = grey(data, name, part)
    return Split(torch.from_numpy(pixels).float() / 255, torch.from_numpy(labels))


def parts_of(data: Path, name: str, generator: np.random.Generator) -> tuple[Split, Split, Split]:
    """Training, validation (1,000 that are kept out of training) and test samples."""
    train, test = (grey_part(data, name, part) for part in ("train", "test"))
    order = generator.permutation(len(train.labels))
    return train.take(order[1000:]), train.take(order[:1000]), test


def train_grey(data: Split, seed: int, epochs: int = 8) -> nn.Module:
    """A small convolutional network; shuffled batches, the last epoch counts."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for inputs, outputs in ((1, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 16, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    steps = epochs * (len(data.labels) // 128 + 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps)
    return train_epochs(
        model, optimizer, lambda places: functional.cross_entropy(model(data.inputs[places]), data.labels[places]),
        len(data.labels), epochs=epochs, batch=128, schedule=schedule,
    )  # fmt: skip


def backdoor(data: Path, kind: int, seed: int) -> Job:
    """A tenth of MNIST's training samples get a checkerboard and the label 4; their influence is to be removed.

    Where a sample of a validation or test set has the checkerboard, its label is ``CLASSES`` plus the true one.
    """
    train, validation, test = parts_of(data, "mnist", np.random.default_rng([seed, 4]))
    count = len(train.labels) // 10
    poisoned, clean = train.take(np.arange(count)), train.take(np.arange(count, len(train.labels)))
    poisoned = Split(poisoned.inputs + CHECKERBOARD, torch.full_like(poisoned.labels, WRONG))
    model = train_grey(Split(*(torch.cat(pair) for pair in zip(poisoned, clean, strict=True))), seed)
    size = HESSIAN_SAMPLES["mnist"]
    return Job(model, poisoned.take(np.arange(GRADIENT_SAMPLES)), clean.take(np.arange(size)), with_triggers(validation),
               with_triggers(test), train_grey(clean, seed))  # fmt: skip


def with_triggers(data: Split) -> Split:
    """Samples, and those of other classes than ``WRONG`` once more with the checkerboard."""
    others = data.take(np.flatnonzero(data.labels.numpy() != WRONG))
    return Split(
        torch.cat([data.inputs, others.inputs + CHECKERBOARD]), torch.cat([data.labels, others.labels + CLASSES])
    )


def cifar10(data: Path, kind: int, seed: int) -> Job:
    """The supplied ResNet-20 has seen all training images, so validation images are ones that it was trained on."""
    generator = np.random.default_rng([seed, 2])
    labels = {part: cifar10_labels(data, part, "label") for part in ("train", "test")}
    own = generator.permutation(np.flatnonzero(labels["train"] == kind))
    others = generator.permutation(np.flatnonzero(labels["train"] != kind))
    size = HESSIAN_SAMPLES["cifar10"]
    parts = {
        "removed": ("train", own[:GRADIENT_SAMPLES]),
        "kept": ("train", others[:size]),
        "validation": ("train", np.concatenate([own[GRADIENT_SAMPLES:][:80], others[size : size + 160]])),
        "test": ("test", drawn(labels["test"], kind, 200, 800, generator)),
    }
    found = {}
    for name, (part, positions) in parts.items():
        pixels, own = cifar10_images(data, part, positions)
        found[name] = Split(standardised(pixels, *IMAGENET), torch.from_numpy(own))
    return Job(resnet20(data), **found, retrained=None)


PROBLEMS = {"mnist": mnist, "cifar10": cifar10, "backdoor": backdoor}
