"""Data that take no memory, and models for them."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

CLASSES, WIDTH, NOISES = 10, 64, 4099


class Made(torch.utils.data.Dataset[tuple[np.ndarray, int]]):
    """Ten clusters; a tenth of the labels is one class too high."""

    def __init__(self, size: int) -> None:
        generator = np.random.default_rng(0)
        self.size = size
        self.centres = generator.standard_normal((CLASSES, WIDTH), dtype=np.float32)
        self.noises = 2 * generator.standard_normal((NOISES, WIDTH), dtype=np.float32)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, position: int) -> tuple[np.ndarray, int]:
        if position >= self.size:
            raise IndexError(position)
        mixed = (position * 2_654_435_761) >> 7
        label = mixed % CLASSES
        wrong = (mixed // CLASSES) % 10 == 0
        return self.centres[label] + self.noises[position % NOISES], (label + wrong) % CLASSES


class Pictures(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """PNG files in memory, decoded (and made smaller) as they are read."""

    def __init__(self, size: int, side: int) -> None:
        self.size, self.files = size, []
        for pixels in np.random.default_rng(0).integers(0, 255, (64, side // 8, side // 8, 3), dtype=np.uint8):
            file = io.BytesIO()
            Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).save(file, "PNG")
            self.files.append(file.getvalue())

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        if position >= self.size:
            raise IndexError(position)
        image = Image.open(io.BytesIO(self.files[position % 64])).convert("RGB").resize((32, 32))
        return torch.from_numpy(np.asarray(image, dtype=np.float32) / 127.5 - 1).permute(2, 0, 1), position % CLASSES


def perceptron() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(WIDTH, 64), nn.ReLU(), nn.Linear(64, CLASSES))
    data, optimizer = Made(100_000), torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(200):
        inputs, labels = zip(*(data[64 * step + place] for place in range(64)), strict=True)
        loss = functional.cross_entropy(model(torch.from_numpy(np.stack(inputs))), torch.tensor(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def images(count: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(count, 3, 32, 32), torch.arange(count) % CLASSES


def arrays(count: int) -> tuple[np.ndarray, np.ndarray]:
    inputs, labels = zip(*(Made(count)[place] for place in range(count)), strict=True)
    return np.stack(inputs), np.array(labels)
