"""Three classes in the plane, a tenth of the labels wrong, and a small network: the least that an audit can be tried on."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

SAMPLES, WRONG = 180, 18


def load() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Samples of three separate classes.

    Returns:
        Inputs (180, 2), given labels (180,), and which of them are wrong (180,), boolean.
    """
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), SAMPLES // 3)
    centres = np.array([[0.0, 4.0], [4.0, -2.0], [-4.0, -2.0]])
    inputs = (centres[labels] + generator.normal(size=(SAMPLES, 2))).astype(np.float32)
    wrong = np.zeros(SAMPLES, dtype=bool)
    wrong[generator.choice(SAMPLES, WRONG, replace=False)] = True
    return inputs, np.where(wrong, (labels + 1) % 3, labels), wrong


def train(inputs: np.ndarray, labels: np.ndarray) -> nn.Module:
    """Fits a perceptron, 60 steps on all samples.

    Args:
        inputs: Shape (n, 2).
        labels: Shape (n,).

    Returns:
        The network, in eval mode.
    """
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(60):
        loss = nn.functional.cross_entropy(model(torch.from_numpy(inputs)), torch.from_numpy(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()
