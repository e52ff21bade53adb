"""Tones for letters, some clips noisier than others, with wrong transcripts, and a small network that learns by CTC."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gradsift.tasks import CTC
from gradsift.tasks.speech import heard_in
from kinds.task_draw import TaskDraw

LETTERS, BANDS, FRAMES, LONGEST = 12, 24, 64, 10
"""Letters without the blank 0, bands of the spectrogram, frames of a clip, and most letters of a transcript."""
TONES = 2
"""Tones of a letter."""
NO_LETTER = -100
PLANTED = ("swap", "replace", "leave")
"""Kinds of errors, see :func:`planted`."""


class Listener(nn.Module):
    """Two convolutions over time."""

    def __init__(self, letters: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(BANDS, 48, 5, padding=2), nn.Conv1d(48, 48, 5, padding=2)
        self.dropout, self.head = nn.Dropout(0.1), nn.Linear(48, letters + 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (n, T, V)."""
        hidden = functional.relu(self.second(functional.relu(self.first(x.transpose(1, 2)))))
        return self.head(self.dropout(hidden.transpose(1, 2)))


def clips(
    seed: int, size: int, noise: tuple[float, float], letters: int = LETTERS, tones: int = TONES
) -> tuple[np.ndarray, np.ndarray]:
    """Spectrograms (n, T, bands) and transcripts (n, 10), -100 at padding; each letter is some tones of its own.

    Args:
        seed: Seed.
        size: Number of clips.
        noise: Deviation of the noise of the clearest and of the noisiest clips.
        letters: Number of letters.
        tones: Tones of each.
    """
    rng = np.random.default_rng(seed)
    chords = np.stack([rng.choice(BANDS, tones, replace=False) for _ in range(letters + 1)])
    x, labels = np.zeros((size, FRAMES, BANDS)), np.full((size, LONGEST), NO_LETTER)
    for row in range(size):
        at, count = int(rng.integers(1, 4)), int(rng.integers(5, LONGEST + 1))
        for place in range(count):
            letter, length = int(rng.integers(1, letters + 1)), int(rng.integers(2, 5))
            x[row, at : at + length, chords[letter]] += rng.uniform(0.6, 1.2)
            labels[row, place], at = letter, at + length + int(rng.integers(1, 3))
    level = rng.uniform(*noise, size)[:, None, None]
    return (x + level * rng.normal(size=x.shape)).astype(np.float32), labels


def planted(
    labels: np.ndarray, how: str, rate: float, seed: int, letters: int = LETTERS
) -> tuple[np.ndarray, np.ndarray]:
    """Transcripts with errors in a share of the clips, and which of them differ.

    Args:
        labels: True transcripts.
        how: ``swap`` the transcript of another clip, ``replace`` one letter is another one, ``leave`` two letters in a row
            are left out; ``mixed``: each of them in turn.
        rate: Share of clips.
        seed: Seed.
        letters: Number of letters.
    """
    rng, given = np.random.default_rng(8000 + seed), labels.copy()
    rows = rng.choice(len(labels), round(rate * len(labels)), replace=False)
    for turn, row in enumerate(rows):
        kind = PLANTED[turn % len(PLANTED)] if how == "mixed" else how
        own = labels[row][labels[row] != NO_LETTER]
        place = rng.integers(len(own) - 1)
        if kind == "swap":
            given[row] = labels[rows[(turn + 1) % len(rows)]]
        elif kind == "replace":
            given[row, place] = 1 + (own[place] - 1 + rng.integers(1, letters)) % letters
        else:
            left = np.delete(own, [place, place + 1])
            given[row] = np.pad(left, (0, LONGEST - len(left)), constant_values=NO_LETTER)
    return given, (given != labels).any(axis=1)


def load(
    data: Path, seed: int, *, how: str, noise: tuple[float, float], letters: int = LETTERS, tones: int = TONES,
    reduction: Literal["mean", "sum"] = "mean", rate: float = 0.1, size: int = 400, epochs: int = 60,
) -> TaskDraw:  # fmt: skip
    """A draw: errors are planted in transcripts, which a small network learns."""
    del data
    frames, labels = clips(seed, size, noise, letters, tones)
    given, wrong = planted(labels, how, rate, seed, letters)
    x, y = torch.from_numpy(frames), torch.from_numpy(given)
    torch.manual_seed(seed)
    model, task = Listener(letters), CTC(blank=0, reduction=reduction)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(size).split(32):
            optimizer.zero_grad()
            task.losses(task.outputs(model, (x[rows], y[rows])), (x[rows], y[rows])).mean().backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        heard = heard_in(task.outputs(model, (x, y)))
    rates = [edits(said.tolist(), row[row != NO_LETTER].tolist()) for said, row in zip(heard, given, strict=True)]
    return TaskDraw(model, (x, y), task, wrong, {"letters that differ": np.array(rates)})


def edits(first: list[int], second: list[int]) -> float:
    """Edit distance over the length of the second, which is Levenshtein's."""
    row = list(range(len(second) + 1))
    for place, one in enumerate(first, 1):
        before, row[0] = row[0], place
        for other, two in enumerate(second, 1):
            before, row[other] = row[other], min(row[other] + 1, row[other - 1] + 1, before + (one != two))
    return row[-1] / max(1, len(second))
