"""Time series with classes out of the package aeon, and tones that are made here; small convolutional networks."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from kinds.class_labels import flipped
from kinds.draw import fit
from kinds.task_draw import TaskDraw

Series = tuple[np.ndarray, np.ndarray]
"""Values (n, channels, time) and classes (n,)."""
RATE = 4000
"""Values a second of a tone."""


def bundled(cache: Path, seed: int, *, name: str) -> Series:
    """A set that the package aeon carries: the wheel is data here, ``pip download --no-deps aeon --dest CACHE``."""
    del seed
    values, words = [], []
    with zipfile.ZipFile(next(cache.glob("aeon-*.whl"))) as wheel:
        for part in ("TRAIN", "TEST"):
            text = wheel.read(f"aeon/datasets/data/{name.removesuffix('_eq')}/{name}_{part}.ts").decode()
            for line in text.partition("@data")[2].strip().splitlines():
                *channels, word = line.split(":")
                values.append([[float(value) for value in channel.split(",")] for channel in channels])
                words.append(word)
    series = np.array(values, dtype=np.float32)
    spread = series.std(axis=(0, 2), keepdims=True)
    return (series - series.mean(axis=(0, 2), keepdims=True)) / spread, np.unique(words, return_inverse=True)[1]


def tones(cache: Path, seed: int, *, size: int = 800) -> Series:
    """A quarter of a second of sound: four timbres that rise or fall, in noise. Made here, no recording."""
    del cache
    rng, at = np.random.default_rng(seed), np.arange(RATE // 4) / RATE
    classes = rng.integers(0, 8, size)
    sounds = []
    for kind in classes:
        glide = rng.uniform(0.2, 1.5) * (1 if kind % 2 else -1)
        phase = 2 * np.pi * rng.uniform(150, 500) * (at + glide * at**2 / 2 * 4)
        waves = {
            0: np.sin(phase), 1: np.sign(np.sin(phase)), 2: (phase / np.pi) % 2 - 1,
            3: np.sin(phase) * np.sin(2 * np.pi * 25 * at),
        }  # fmt: skip
        sounds.append(rng.uniform(0.2, 1) * (waves[int(kind) // 2] + rng.normal(size=len(at))))
    return np.array(sounds, dtype=np.float32)[:, None] / 4, classes


def network(channels: int, classes: int) -> nn.Module:
    """Three convolutions over time, their mean over time, and a linear layer."""
    return nn.Sequential(
        nn.Conv1d(channels, 32, 7, padding=3), nn.ReLU(), nn.MaxPool1d(2),
        nn.Conv1d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2),
        nn.Conv1d(64, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(64, classes),
    )  # fmt: skip


class Spectrogram(nn.Module):
    """Sound as logarithms of the magnitudes of short spectra, and convolutions over them.

    Args:
        classes: Number of classes.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(128))
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(512, classes),
        )  # fmt: skip

    def forward(self, sound: Tensor) -> Tensor:
        """Logits, shape (n, K), of sound of shape (n, 1, time)."""
        spectra = torch.stft(sound[:, 0], 128, 64, window=self.window, return_complex=True).abs()
        return self.layers(torch.log1p(spectra)[:, None])


def load(
    cache: Path, seed: int, *, source: Callable[..., Series], how: str, rate: float, sound: bool = False,
    epochs: int = 40,
) -> TaskDraw:  # fmt: skip
    """A draw: classes are flipped and fitted by a convolutional network."""
    values, true = source(cache, seed)
    given = flipped(true, how, rate, seed)
    x, y = torch.from_numpy(values), torch.from_numpy(given)
    torch.manual_seed(seed)
    classes = int(true.max()) + 1
    model = Spectrogram(classes) if sound else network(x.shape[1], classes)
    fit(model, x, y, functional.cross_entropy, seed=seed, epochs=epochs, batch=32)
    return TaskDraw(model, (x, y), "classification", given != true, classes=given)
