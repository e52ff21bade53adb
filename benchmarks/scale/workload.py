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


SETTINGS: dict[str, Any] = {"batch_size": 256, "detectors": ["l2", "loss"], "contamination": 0.1}
"""The passes are what engines run; detectors behind them are the same for all."""
