"""What the figures on scale run: images of 32 x 32 and a small network, last layer. Synthetic, as volume is what counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

DISTINCT = 512
"""Different images; the others repeat them, so a data set of any size takes no memory."""


class Images:
    """Images by position, with labels of which one in ten is wrong.

    Args:
        size: How many.
        seconds: How long reading one takes beyond its computing, for kills.
    """

    classes = ("0", "1", "2", "3")

    def __init__(self, size: int, seconds: float = 0.0) -> None:
        generator = np.random.default_rng(0)
        self.images = generator.standard_normal((DISTINCT, 3, 32, 32)).astype(np.float32)
        self.labels = generator.integers(0, 4, DISTINCT)
        self.images += self.labels[:, None, None, None] * 0.5
        self.size, self.seconds = size, seconds

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, position: int) -> tuple[torch.Tensor, int]:
        if self.seconds:
            import time

            time.sleep(self.seconds)
        place = position % DISTINCT
        label = int(self.labels[place] + (position % 10 == 0)) % 4
        return torch.from_numpy(self.images[place]), label


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(2),
        nn.Flatten(), nn.Linear(128, 4),
    ).eval()  # fmt: skip


class Texts:
    """Texts of 64 tokens by position.

    Args:
        size: How many.
    """

    classes = ("0", "1", "2", "3")

    def __init__(self, size: int) -> None:
        generator = np.random.default_rng(0)
        self.tokens = generator.integers(0, 1000, (DISTINCT, 64))
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, position: int) -> tuple[torch.Tensor, int]:
        place = position % DISTINCT
        return torch.from_numpy(self.tokens[place]), int(self.tokens[place, 0]) % 4


class Encoder(nn.Module):
    """As large as all-MiniLM-L6: six layers of width 384; its weights are random, which takes the same time."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(384, 12, 1536, dropout=0.0, batch_first=True)
        self.words, self.layers = nn.Embedding(1000, 384), nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
        self.head = nn.Linear(384, 4)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(self.words(tokens)).mean(dim=1))


def encoder() -> nn.Module:
    torch.manual_seed(0)
    return Encoder().eval()


SETTINGS: dict[str, Any] = {"batch_size": 256, "detectors": ["l2", "loss"], "contamination": 0.1}
"""The passes are what engines run; detectors behind them are the same for all."""
