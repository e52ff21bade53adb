"""Images from files and encoded bytes."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.utils.data import Dataset

from gradsift.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
"""Endings of image files."""

Transform = Callable[[Any], Tensor]
"""From a Pillow image to a tensor."""


class ImageBytes(Dataset):
    """Images held as encoded bytes.

    Args:
        images: Encoded images.
        labels: Class numbers.
        classes: Names of the classes, if known.
        transform: From a Pillow image to a tensor.
    """

    def __init__(
        self, images: pa.ChunkedArray, labels: np.ndarray, classes: list[str] | None, transform: Transform | None
    ) -> None:
        self._images, self.labels, self._transform = images, labels, transform or to_tensor
        if classes is not None:
            self.classes = classes

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        """Image and label."""
        return self._transform(open_image(self._images[position].as_py())), self.labels[position].item()


class ImageFolder(Dataset):
    """Images in one subfolder for each class.

    Args:
        root: The folder.
        transform: From a Pillow image to a tensor.
        classes: Names of the classes in the order of their numbers; the subfolders by name where left out.

    Attributes:
        files: The image files, by class and name.
        classes: Names of the subfolders.
    """

    def __init__(self, root: Path, transform: Transform | None, classes: list[str] | None = None) -> None:
        self.files, self.labels, self.classes = image_files(root, classes)
        self._transform = transform or to_tensor

    def __len__(self) -> int:
        """Number of images."""
        return len(self.files)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        """Image and label."""
        return self._transform(open_image(self.files[position].read_bytes())), int(self.labels[position])


def open_image(content: bytes | dict[str, Any]) -> Any:
    """Decodes an image.

    Args:
        content: Encoded bytes, or a dict with them under ``bytes`` as Hugging Face data sets have it.

    Returns:
        A Pillow image.

    Raises:
        DataError: Pillow is not installed, or the bytes are no image.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise DataError("reading image files needs Pillow: pip install 'gradsift[image]'") from error
    encoded = content["bytes"] if isinstance(content, dict) else content
    try:
        return Image.open(io.BytesIO(encoded)).copy()
    except (UnidentifiedImageError, OSError, TypeError) as error:
        raise DataError(f"a sample is no readable image ({error}): check the image column") from error


def to_tensor(image: Any) -> Tensor:
    """An image as a tensor.

    Args:
        image: A Pillow image.

    Returns:
        Shape (3, h, w), or (1, h, w) for a grey one, float32 in [0, 1].
    """
    array = np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"), dtype=np.float32) / 255
    return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1).copy())


def image_files(root: Path, classes: list[str] | None = None) -> tuple[list[Path], np.ndarray, list[str]]:
    """Finds the images of a folder, in the order of their positions.

    Args:
        root: Folder with one subfolder for each class.
        classes: Names of the classes in the order of their numbers; the subfolders by name where left out.

    Returns:
        The files by class and name, their class numbers, and the names of the classes.

    Raises:
        DataError: There are no images, or classes that are not among those given.
    """
    found_classes = sorted(folder.name for folder in root.iterdir() if folder.is_dir())
    classes = found_classes if classes is None else classes
    unknown = sorted(set(found_classes) - set(classes))
    if unknown:
        raise DataError(f"{root} has the classes {', '.join(unknown)}, which the training set has not")
    files, labels = [], []
    for number, name in enumerate(classes):
        found = sorted(file for file in (root / name).rglob("*") if file.suffix.lower() in SUFFIXES)
        files += found
        labels += [number] * len(found)
    if not files:
        raise DataError(f"{root} holds no images in subfolders: make one subfolder for each class")
    return files, np.asarray(labels, dtype=np.int64), classes
