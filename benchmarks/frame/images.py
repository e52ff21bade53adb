"""Images of the data sets, as they lie in the folder of ``--data``."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor


def grey(data: Path, name: str, part: str) -> tuple[np.ndarray, np.ndarray]:
    """MNIST or Fashion-MNIST: grey values (n, 1, 28, 28), uint8, and labels (n,) of a stratified subset.

    Args:
        data: Folder of the data sets.
        name: ``"mnist"`` or ``"fashion_mnist"``.
        part: ``"train"``, 10,000 images, or ``"test"``, 2,000.
    """
    table = pq.read_table(data / name / f"{part}_subset.parquet")
    pixels = np.frombuffer(b"".join(table["pixels"].to_pylist()), np.uint8).reshape(-1, 1, 28, 28).copy()
    return pixels, table["label"].to_numpy().copy()


def decoded(cells: Iterable[Any]) -> Tensor:
    """Colours in [0, 1], shape (n, 3, height, width), of cells that hold encoded images.

    Args:
        cells: Bytes, or dicts with ``bytes``.
    """
    encoded = [cell["bytes"] if isinstance(cell, dict) else cell for cell in cells]
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(one)).convert("RGB")) for one in encoded])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def cifar10(data: Path, part: str, rows: np.ndarray | None = None) -> tuple[Tensor, np.ndarray]:
    """Colours in [0, 1], shape (m, 3, 32, 32), and true labels (m,) of CIFAR-10.

    Args:
        data: Folder of the data sets.
        part: ``"train"`` or ``"test"``.
        rows: Positions; all where left out.
    """
    table = pq.read_table(data / "cifar10" / f"{part}.parquet", columns=["image", "label"])
    table = table if rows is None else table.take(rows)
    return decoded(table["image"].to_pylist()), table["label"].to_numpy().astype(np.int64)


def standardised(images: Tensor, mean: Iterable[float], deviation: Iterable[float]) -> Tensor:
    """Images less the mean of each channel, over its deviation.

    Args:
        images: Shape (n, channels, height, width).
        mean: Of each channel.
        deviation: Of each channel.
    """
    centre, scale = (torch.tensor(list(numbers))[:, None, None] for numbers in (mean, deviation))
    return (images - centre) / scale


IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation that the supplied ResNet-20 was trained with."""
CIFAR10 = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
