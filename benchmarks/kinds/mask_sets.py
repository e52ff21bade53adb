"""Scenes to segment: digits or clothes of MNIST's form on photographs of CIFAR-10, with planted errors in masks."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from kinds.draw import fit
from kinds.task_draw import TaskDraw

SIDE, OBJECT = 32, 14
"""Pixels of a scene's side, and of an object's."""
CLASSES = 4
"""Classes of objects; class 0 of masks is what lies behind them."""
PLANTED = ("drop", "class", "shift", "swap", "coarse")
"""Kinds of errors, see :func:`planted`."""
TEMPERATURE = 0.1
"""Of cleanlab's soft minimum over pixels."""


class UNet(nn.Module):
    """Three resolutions, two convolutions each way at each of them."""

    def __init__(self, classes: int, width: int = 16) -> None:
        super().__init__()

        def block(inputs: int, outputs: int) -> nn.Module:
            parts: list[nn.Module] = []
            for channels in (inputs, outputs):
                parts += [nn.Conv2d(channels, outputs, 3, padding=1), nn.GroupNorm(4, outputs), nn.ReLU()]
            return nn.Sequential(*parts)

        self.down = nn.ModuleList([block(3, width), block(width, 2 * width), block(2 * width, 4 * width)])
        self.up = nn.ModuleList([block(6 * width, 2 * width), block(3 * width, width)])
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (n, K, h, w)."""
        seen = []
        for place, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if place else x)
            seen.append(x)
        for block, before in zip(self.up, (seen[1], seen[0]), strict=True):
            x = block(torch.cat([before, functional.interpolate(x, scale_factor=2.0)], dim=1))
        return self.head(x)


def placed(
    data: Path, seed: int, *, name: str, first: int, size: int
) -> tuple[np.ndarray, list[list[tuple[np.ndarray, int]]]]:
    """Images (n, 3, h, w), and the objects of each in the order in which they were put into it: where, and their class.

    Args:
        data: The data folder.
        seed: Seed.
        name: ``mnist`` or ``fashion_mnist``.
        first: The first of four classes that objects have.
        size: Number of scenes n.
    """
    rng = np.random.default_rng(seed)
    table = pq.read_table(data / name / "train_subset.parquet")
    pixels = np.frombuffer(b"".join(table["pixels"].to_pylist()), np.uint8).reshape(-1, 28, 28)
    labels = table["label"].to_numpy()
    usable = np.flatnonzero((labels >= first) & (labels < first + CLASSES))
    images = 0.5 * _photographs(data, size, rng)
    objects: list[list[tuple[np.ndarray, int]]] = [[] for _ in range(size)]
    for place in range(size):
        for _ in range(rng.integers(1, 4)):
            one = rng.choice(usable)
            small = np.asarray(Image.fromarray(pixels[one]).resize((OBJECT, OBJECT))) / 255
            top, left = rng.integers(0, SIDE - OBJECT, 2)
            cover = np.zeros((SIDE, SIDE))
            cover[top : top + OBJECT, left : left + OBJECT] = small
            images[place] = images[place] * (1 - cover[..., None]) + cover[..., None] * rng.uniform(0.5, 1, 3)
            objects[place].append((cover > 0.3, int(labels[one]) - first + 1))  # where it is more than a shade
    return images.astype(np.float32).transpose(0, 3, 1, 2), objects


def painted(objects: list[list[tuple[np.ndarray, int]]]) -> np.ndarray:
    """The mask of each scene, shape (n, h, w): later objects cover earlier ones."""
    masks = np.zeros((len(objects), SIDE, SIDE), dtype=np.int64)
    for mask, own in zip(masks, objects, strict=True):
        for cover, number in own:
            mask[cover] = number
    return masks


def _photographs(data: Path, size: int, rng: np.random.Generator) -> np.ndarray:
    """Photographs in [0, 1], shape (n, 32, 32, 3)."""
    table = pq.read_table(data / "cifar10" / "train.parquet", columns=["image"])
    rows = table["image"].take(rng.choice(table.num_rows, size, replace=False)).to_pylist()
    return np.stack([np.asarray(Image.open(io.BytesIO(row["bytes"])).convert("RGB")) for row in rows]) / 255


def planted(masks: np.ndarray, last: list[Any], how: str, rate: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Masks with errors in a share of the scenes, and which of them differ.

    Args:
        masks: True masks, shape (n, h, w).
        last: Where the last object of each scene is, and its class.
        how: ``drop`` the object is forgotten, ``class`` it has another class, ``shift`` it is four pixels off, ``swap`` the
            mask of another scene, ``coarse`` its bounding box is filled; ``mixed``: each of them in turn.
        rate: Share of scenes.
        seed: Seed.
    """
    rng, given = np.random.default_rng(5000 + seed), masks.copy()
    rows = rng.choice(len(masks), round(rate * len(masks)), replace=False)
    for turn, row in enumerate(rows):
        kind = PLANTED[turn % len(PLANTED)] if how == "mixed" else how
        cover, number = last[row]
        own = cover & (masks[row] == number)
        if kind == "swap":
            given[row] = masks[rows[(turn + 1) % len(rows)]]
        elif kind == "class":
            given[row][own] = 1 + (number - 1 + rng.integers(1, CLASSES)) % CLASSES
        elif kind == "coarse":
            places = np.nonzero(own)
            given[row][tuple(slice(axis.min(), axis.max() + 1) for axis in places)] = number
        else:
            given[row][own] = 0
            if kind == "shift":
                given[row][np.roll(own, rng.choice([-4, 4], 2), (0, 1))] = number
    return given, (given != masks).any(axis=(1, 2))


def load(
    data: Path, seed: int, *, name: str, first: int, how: str, rate: float = 0.1, size: int = 500, epochs: int = 10
) -> TaskDraw:
    """A draw: errors are planted in masks, which a small U-Net learns."""
    images, objects = placed(data, seed, name=name, first=first, size=size)
    given, wrong = planted(painted(objects), [own[-1] for own in objects], how, rate, seed)
    x, y = torch.from_numpy(images), torch.from_numpy(given)
    torch.manual_seed(seed)
    model = fit(UNet(CLASSES + 1), x, y, functional.cross_entropy, seed=seed, epochs=epochs, batch=16, rate=3e-3)
    with torch.no_grad():
        logits = torch.cat([model(part) for part in x.split(64)])
    return TaskDraw(model, (x, y), "segmentation", wrong, baselines(logits, y))


def baselines(logits: Tensor, masks: Tensor) -> dict[str, np.ndarray]:
    """Cleanlab's soft minimum over pixels (Lad and Mueller 2023, arXiv 2307.05080), and the share of pixels that differ."""
    doubt = 1 - logits.softmax(dim=1).gather(1, masks[:, None])[:, 0].flatten(1)
    soft = ((doubt / TEMPERATURE).softmax(dim=1) * doubt).sum(dim=1)
    differ = (logits.argmax(dim=1) != masks).flatten(1).float().mean(dim=1)
    return {"cleanlab, soft minimum": soft.numpy(), "share of pixels that differ": differ.numpy()}
