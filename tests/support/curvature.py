"""Small models whose curvature torch computes densely, and matrices with known eigenvalues."""

import numpy as np
import torch
from torch import nn

NAMES = ["network", "convolutions", "recurrent", "attention"]


class Attention(nn.Module):
    """Token embeddings, one block of scaled dot-product attention with a LayerNorm, a head."""

    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(7, 4), nn.Embedding(5, 4)
        self.inward, self.norm, self.head = nn.Linear(4, 12), nn.LayerNorm(4), nn.Linear(4, 3)

    def forward(self, ids):
        hidden = self.words(ids) + self.places.weight[: ids.shape[1]]
        query, key, value = self.inward(hidden).unflatten(2, (3, 2, 2)).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.head(self.norm(hidden + mixed.transpose(1, 2).flatten(2)).mean(dim=1))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.recurrence, self.head = nn.GRU(3, 2, batch_first=True), nn.Linear(2, 3)

    def forward(self, x):
        return self.head(self.recurrence(x)[0][:, -1])


def case(name):
    """A model in double precision and a data set of nine samples."""
    torch.manual_seed(0)
    labels = torch.randint(3, (9,))
    if name == "network":
        return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3)).double().eval(), (
            torch.randn(9, 4).double(),
            labels,
        )
    if name == "convolutions":
        model = nn.Sequential(nn.Conv2d(1, 2, 2), nn.Softplus(), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
        return model.double().eval(), (torch.randn(9, 1, 3, 3).double(), labels)
    if name == "recurrent":
        return Recurrent().double().eval(), (torch.randn(9, 4, 3).double(), labels)
    return Attention().double().eval(), (torch.randint(7, (9, 5)), labels)


def matrix(values, seed=0):
    basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(values), len(values))))[0]
    return torch.from_numpy(basis @ np.diag(values) @ basis.T)


def sides(count, size, seed=1):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, size)))


def times(a):
    return lambda rows: rows @ a
