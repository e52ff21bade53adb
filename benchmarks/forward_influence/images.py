"""Grey and colour images, networks for them, and their training."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from frame.images import IMAGENET, cifar10, grey, standardised
from frame.training import train_epochs
from torch import Tensor, nn
from torch.nn import functional

from forward_influence.methods import Data


def load(data_folder: Path, name: str, split: str, count: int, seed: int) -> Data:
    """Grey images in [-1, 1], shape (n, 1, 28, 28), as many of every class, and their labels."""
    pixels, labels = grey(data_folder, name, split)
    generator = np.random.default_rng([seed, len(split)])
    each = [generator.permutation(np.flatnonzero(labels == one))[: count // 10] for one in range(10)]
    chosen = generator.permutation(np.concatenate(each))
    images = torch.from_numpy(pixels[chosen].astype(np.float32) / 127.5 - 1)
    return images, torch.from_numpy(labels[chosen].astype(np.int64))


def flipped(labels: Tensor, share: float, seed: int) -> tuple[Tensor, np.ndarray]:
    """Labels of which some are another class at random, and which ones."""
    generator = np.random.default_rng([seed, 7])
    wrong = np.zeros(len(labels), dtype=bool)
    wrong[generator.choice(len(labels), round(share * len(labels)), replace=False)] = True
    shift = torch.from_numpy(generator.integers(1, 10, len(labels)))
    return torch.where(torch.from_numpy(wrong), (labels + shift) % 10, labels), wrong


def perceptron(width: int = 64) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, width), nn.ReLU(), nn.Linear(width, 10))


def convnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 12, 5, stride=2, padding=2), nn.BatchNorm2d(12), nn.ReLU(),
        nn.Conv2d(12, 24, 3, stride=2, padding=1), nn.BatchNorm2d(24), nn.ReLU(),
        nn.Flatten(), nn.Linear(24 * 49, 10),
    )  # fmt: skip


def train(
    make: Callable[[], nn.Module],
    data: Data,
    seed: int,
    epochs: int,
    rate: float = 0.05,
    keep: list[tuple[float, nn.Module]] | None = None,
) -> nn.Module:
    """SGD with momentum over shuffled batches of 32, last epoch; ``keep`` takes a checkpoint every fifth of the way."""
    torch.manual_seed(seed)
    model = make()

    def after_epoch(epoch: int) -> None:
        if keep is not None and epoch % max(1, epochs // 5) == 0:
            keep.append((rate, copy.deepcopy(model).eval()))

    return train_epochs(
        model, torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9),
        lambda places: functional.cross_entropy(model(data[0][places]), data[1][places]), len(data[0]), epochs=epochs,
        batch=32, smallest=2, after_epoch=after_epoch,
    )  # fmt: skip


@torch.no_grad()
def losses(model: nn.Module, data: Data) -> np.ndarray:
    return functional.cross_entropy(model(data[0]), data[1], reduction="none").double().numpy()


def moved(images: Tensor, seed: int) -> Tensor:
    """Copies that a comparison of pixels does not see: shifted by one pixel, darker, noisy."""
    generator = torch.Generator().manual_seed(seed)
    copies = 0.7 * images.roll((1, -1), dims=(2, 3)) - 0.2
    return copies + 0.1 * torch.randn(copies.shape, generator=generator)


def cifar(data_folder: Path, count: int, seed: int) -> Data:
    rows = np.sort(np.random.default_rng([seed, 5]).choice(50_000, count, replace=False))
    pixels, labels = cifar10(data_folder, "train", rows)
    return standardised(pixels, *IMAGENET), torch.from_numpy(labels)
