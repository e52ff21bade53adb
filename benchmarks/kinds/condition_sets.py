"""Small diffusion models whose conditions are classes, some of them wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from gradsift.tasks import ConditionalDenoising
from kinds.class_draw import ClassDraw, flipped

SIDE, STEPS, CLASSES = 8, 100, 10


class Denoiser(nn.Module):
    """Predicts the noise in an 8 x 8 image of a class; time enters as sines."""

    def __init__(self, hidden: int = 256) -> None:
        super().__init__()
        self.kind, self.time = nn.Embedding(CLASSES, 32), nn.Linear(16, 32)
        self.layers = nn.Sequential(
            nn.Linear(SIDE * SIDE + 64, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(),
            nn.Linear(hidden, SIDE * SIDE),
        )  # fmt: skip

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """The noise, shape (n, 1, 8, 8)."""
        at = t.to(x)[:, None] / STEPS * torch.pi * 2.0 ** torch.arange(8).to(x) / 2
        about = self.time(torch.cat([at.sin(), at.cos()], dim=1)), self.kind(y)
        return self.layers(torch.cat([x.flatten(1), *about], dim=1)).view_as(x)


def pictures(data: Path, name: str, seed: int, size: int = 1200) -> tuple[Tensor, np.ndarray]:
    """Pictures of 8 x 8 pixels in -1 ... 1, shape (n, 1, 8, 8), and their classes."""
    rng = np.random.default_rng(seed)
    if name == "digits":
        pixels, classes = load_digits(return_X_y=True)
        images = pixels.reshape(-1, 1, SIDE, SIDE) / 8 - 1
    else:
        rows = pq.read_table(data / name / "train_subset.parquet")
        whole = np.frombuffer(b"".join(rows["pixels"].to_pylist()), np.uint8).reshape(-1, 1, 28, 28) / 127.5 - 1
        images = functional.avg_pool2d(functional.pad(torch.from_numpy(whole), (2, 2, 2, 2), value=-1), 4).numpy()
        classes = rows["label"].to_numpy()
    chosen = rng.choice(len(images), size, replace=False)
    return torch.from_numpy(images[chosen]).float(), classes[chosen].astype(np.int64)


def trained(images: Tensor, classes: Tensor, seed: int, steps: int = 2500) -> nn.Module:
    """Adam on the squared error of the noise, with a rate that falls to zero."""
    torch.manual_seed(seed)
    model, kept = Denoiser(), ConditionalDenoising(conditions=CLASSES, timesteps=STEPS).kept.float()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 2e-3 * (1 - step / steps)
        rows, noise, t = torch.randint(len(images), (64,)), torch.randn(64, 1, SIDE, SIDE), torch.randint(STEPS, (64,))
        share = kept[t][:, None, None, None]
        noisy = share.sqrt() * images[rows] + (1 - share).sqrt() * noise
        optimizer.zero_grad()
        (model(noisy, t, classes[rows]) - noise).square().mean().backward()
        optimizer.step()
    return model.eval()


def load(data: Path, seed: int, *, name: str, how: str, rate: float) -> ClassDraw:
    """A draw: classes are flipped, and a denoiser learns pictures with them."""
    images, true = pictures(data, name, seed)
    given = flipped(true, how, rate, seed)
    conditions = torch.from_numpy(given)
    task = ConditionalDenoising(conditions=CLASSES, timesteps=STEPS)
    return ClassDraw(trained(images, conditions, seed), (images, conditions), given, given != true, task)
