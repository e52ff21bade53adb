"""Digits: scikit-learn's bundled images, of which a quarter get a wrong label, and a small network that memorises them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from gradsift.evaluation.noise import flip_labels

NOISE = 0.25
TEST = 500
EPOCHS, BATCH = 40, 32
"""As many epochs of as small batches as let the network memorise most of the wrong labels."""


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
    """A network with one hidden layer.

    Returns:
        The network with fresh weights.
    """
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))


def train(dataset: Any, *, seed: int, after_epoch: Callable[[nn.Module], None] | None = None) -> nn.Module:
    """Adam, shuffled.

    Args:
        dataset: ``(x, y)``, arrays or tensors; y holds class numbers, shape (n,), or soft targets, shape (n, 10).
        seed: Seeds initialisation and shuffling.
        after_epoch: Is called with the model after each epoch, where it is given.

    Returns:
        The model of the last epoch.
    """
    torch.manual_seed(seed)
    images, labels = (torch.as_tensor(part) for part in dataset)
    model = make_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, fused=True)  # a third less time for so small a network
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(labels)).split(BATCH):
            loss = functional.cross_entropy(model(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if after_epoch is not None:
            after_epoch(model)
    return model.eval()


train.accepts = {"soft"}  # type: ignore[attr-defined]  # cross_entropy takes probabilities as well as class numbers
