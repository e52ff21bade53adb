"""Scenes with boxes: the objects of :mod:`kinds.mask_sets`, with planted errors, and a small network that predicts sets."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from frame.training import falling, train_epochs
from torch import Tensor, nn

import gradsift
from gradsift.tasks import Detection
from gradsift.tasks.detection import overlaps
from kinds.mask_sets import CLASSES, OBJECT, SIDE, placed
from kinds.task_draw import TaskDraw

GRID = 8
"""Queries along a side of the image."""
PLANTED = ("missing", "spurious", "shift", "class")
"""Kinds of errors, see :func:`planted`."""
Boxes = tuple[np.ndarray, np.ndarray]
"""Classes (m,) and boxes (m, 4) of an image: centre, width and height as shares."""


class SetPredictor(nn.Module):
    """Convolutions down to 8 x 8 places, attention among them; each place is a query, whose box lies around it."""

    def __init__(self, classes: int, width: int = 48) -> None:
        super().__init__()
        sizes = (3, width // 2, width, width)
        self.body = nn.Sequential(
            *(
                part
                for place, (inputs, outputs) in enumerate(pairwise(sizes))
                for part in (
                    nn.Conv2d(inputs, outputs, 3, padding=1, stride=1 if place == 0 else 2),
                    nn.GroupNorm(4, outputs), nn.ReLU(),
                )
            ),
            nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(4, width), nn.ReLU(),
        )  # fmt: skip
        self.attention = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.1, batch_first=True)
        self.head = nn.Linear(width, classes + 1 + 4)
        middles = (torch.arange(GRID) + 0.5) / GRID
        corners = torch.stack(torch.meshgrid(middles, middles, indexing="xy"), dim=-1).reshape(-1, 2)
        around = torch.cat([corners, torch.full_like(corners, OBJECT / SIDE)], dim=1)
        self.register_buffer("around", around.logit())

    def forward(self, pixel_values: Tensor) -> Any:
        """Logits (n, 64, K + 1) and boxes (n, 64, 4), as DETR of transformers names them."""
        seen = self.attention(self.body(pixel_values).flatten(2).transpose(1, 2))
        found = self.head(seen)
        return SimpleNamespace(logits=found[..., :-4], pred_boxes=(found[..., -4:] + self.around).sigmoid())


def boxed(objects: list[tuple[np.ndarray, int]]) -> Boxes:
    """Classes from 0, and the box around each object."""
    rows = []
    for cover, _ in objects:
        high, wide = (np.flatnonzero(cover.any(axis=axis)) for axis in (1, 0))
        top, bottom, left, right = high[0], high[-1] + 1, wide[0], wide[-1] + 1
        rows.append([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top])
    return np.array([number - 1 for _, number in objects]), np.array(rows) / SIDE


def planted(true: list[Boxes], how: str, rate: float, seed: int) -> tuple[list[Boxes], np.ndarray]:
    """Boxes with an error in a share of the images, and which those are.

    Args:
        true: True boxes of each image.
        how: ``missing`` a box is left out, ``spurious`` one is added where it shares at most a tenth with others, ``shift``
            one is a third of its side off both ways, ``class`` one has another class; ``mixed``: each of them in turn.
        rate: Share of images.
        seed: Seed.
    """
    rng, given, wrong = np.random.default_rng(9000 + seed), list(true), np.zeros(len(true), dtype=bool)
    rows = rng.choice(len(true), round(rate * len(true)), replace=False)
    for turn, row in enumerate(rows):
        kind = PLANTED[turn % len(PLANTED)] if how == "mixed" else how
        numbers, boxes = (part.copy() for part in true[row])
        place, wrong[row] = rng.integers(len(numbers)), True
        if kind == "missing":
            numbers, boxes = np.delete(numbers, place), np.delete(boxes, place, axis=0)
        elif kind == "spurious":
            numbers, boxes = np.append(numbers, rng.integers(CLASSES)), np.vstack([boxes, _elsewhere(boxes, rng)])
        elif kind == "shift":
            moved = boxes[place, :2] + rng.choice([-1, 1], 2) * boxes[place, 2:] / 3
            boxes[place, :2] = moved.clip(0.05, 0.95)
        else:
            numbers[place] = (numbers[place] + rng.integers(1, CLASSES)) % CLASSES
        given[row] = numbers, boxes
    return given, wrong


def _elsewhere(boxes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A box of an object's size that shares little with the others; the best of many where none shares little."""
    half = OBJECT / SIDE / 2
    tries = np.column_stack([rng.uniform(half, 1 - half, (200, 2)), np.full((200, 2), 2 * half)])
    shared = overlaps(*(torch.from_numpy(part) for part in (tries, boxes)))[0].max(dim=1).values.numpy()
    return tries[np.argmax(shared <= 0.1) if (shared <= 0.1).any() else shared.argmin()]


def load(
    data: Path, seed: int, *, name: str, first: int, how: str, rate: float = 0.1, size: int = 300, epochs: int = 25
) -> TaskDraw:
    """A draw: errors are planted in boxes, which a small network learns with DETR's loss."""
    images, objects = placed(data, seed, name=name, first=first, size=size)
    given, wrong = planted([boxed(own) for own in objects], how, rate, seed)
    rows = [
        {"pixel_values": torch.from_numpy(image), "labels": {"class_labels": numbers, "boxes": boxes}}
        for image, (numbers, boxes) in zip(images, given, strict=True)
    ]
    train_set, task = gradsift.BoxSet(rows), Detection()
    torch.manual_seed(seed)
    model = SetPredictor(CLASSES)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)

    def loss(places: Tensor) -> Tensor:
        batch = train_set.collate([train_set[int(place)] for place in places])
        return task.losses(task.outputs(model, batch), batch).mean()

    train_epochs(
        model, optimizer, loss, size, epochs=epochs, batch=16, seed=seed,
        schedule=falling(optimizer, size, epochs=epochs, batch=16),
    )  # fmt: skip
    return TaskDraw(model, train_set, task, wrong)
