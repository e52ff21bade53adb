import os

import numpy as np
import pytest
import torch
from torch import nn

os.environ["HF_HUB_OFFLINE"] = "1"
torch.set_num_threads(1)


@pytest.fixture
def blobs():
    """Three classes in the plane, 10 % of the labels flipped: inputs, given labels, which are wrong."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 60)
    centres = np.array([[0.0, 4.0], [4.0, -2.0], [-4.0, -2.0]])
    inputs = (centres[labels] + generator.normal(size=(180, 2))).astype(np.float32)
    wrong = np.zeros(180, dtype=bool)
    wrong[generator.choice(180, 18, replace=False)] = True
    given = np.where(wrong, (labels + 1) % 3, labels)
    return inputs, given, wrong


@pytest.fixture
def trained(blobs):
    """A linear classifier trained on the blobs, in eval mode."""
    inputs, given, _ = blobs
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(60):
        loss = nn.functional.cross_entropy(model(torch.from_numpy(inputs)), torch.from_numpy(given))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()
