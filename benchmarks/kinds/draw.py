"""A draw of a regime: data with planted errors, and the model that was trained on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from frame.training import falling, train_epochs
from torch import Tensor, nn


@dataclass(frozen=True)
class Draw:
    """Data with planted errors, and a model that was trained on them.

    Attributes:
        model: The trained model, in eval mode.
        inputs: Inputs, first axis = samples; of chats the encoded data set.
        given: Given labels, the planted errors among them; of chats the kind of garbage.
        wrong: Which samples have an error, shape (n,).
        parts: Which labels or tokens are wrong, shape (n, K) or (n, T); ``None`` where a sample has one target.
        true: True labels, of the shape of the given ones.
    """

    model: nn.Module
    inputs: Any
    given: np.ndarray
    wrong: np.ndarray
    parts: np.ndarray | None
    true: np.ndarray


def fit(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    seed: int,
    epochs: int,
    batch: int = 64,
    rate: float = 2e-3,
    decay: float = 1e-4,
) -> nn.Module:
    """Trains with AdamW and a rate that falls to zero.

    Args:
        model: The network.
        inputs: Shape (n, ...).
        targets: Shape (n, ...).
        loss: From outputs and targets to a mean.
        seed: Seed of the order of samples.
        epochs: Passes over the data.
        batch: Samples a step.
        rate: Learning rate of the first step.
        decay: Weight decay.

    Returns:
        The same network, in eval mode.
    """
    size, optimizer = len(inputs), torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
    return train_epochs(
        model, optimizer, lambda rows: loss(model(inputs[rows]), targets[rows]), size, epochs=epochs, batch=batch,
        seed=seed, schedule=falling(optimizer, size, epochs=epochs, batch=batch),
    )  # fmt: skip


def perceptron(inputs: int, outputs: int, *, hidden: int = 128, dropout: float = 0.1) -> nn.Module:
    """A perceptron with two hidden layers."""
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(dropout),
        nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout),
        nn.Linear(hidden, outputs),
    )  # fmt: skip
