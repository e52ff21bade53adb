"""The recipe of ``gradsift demo``: scikit-learn's bundled digits with 10 % flipped labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from gradsift.evaluation.noise import flip_labels

NOISE = 0.1
TEST = 500
EPOCHS, BATCH = 20, 64


def load() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Training and test digits, 8 x 8 grey pixels in [0, 1].

    Returns:
        ``x`` (n, 1, 8, 8), given ``label`` (n,) and, for training, ``true_label``; 1,297 and 500 samples.
    """
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    images = (digits.images[order, None] / 16).astype(np.float32)
    labels = digits.target[order].astype(np.int64)
    train, test = slice(TEST, None), slice(0, TEST)
    given = flip_labels(labels[train], NOISE, seed=0)
    return (
        {"x": images[train], "label": given, "true_label": labels[train]},
        {"x": images[test], "label": labels[test]},
    )


def make_model() -> nn.Module:
    """A small convolutional network.

    Returns:
        The network with fresh weights.
    """
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )


def train(dataset: Any, *, seed: int) -> nn.Module:
    """Adam with a linearly falling rate, shuffled.

    Args:
        dataset: ``(x, y)``, arrays or tensors.
        seed: Seeds initialisation and shuffling.

    Returns:
        The model of the last epoch.
    """
    torch.manual_seed(seed)
    images, labels = (torch.as_tensor(part) for part in dataset)
    model = make_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-4)
    steps = EPOCHS * -(-len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(labels)).split(BATCH):
            loss = functional.cross_entropy(model(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()
