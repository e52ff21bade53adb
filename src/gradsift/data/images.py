"""Images from files and encoded bytes.

Whatever Pillow opens keeps its range: 8 bits are divided by 255, 16 bits by 65535, and numbers that have no such range are
refused. Palettes, CMYK and black and white become RGB as Pillow converts them; transparency is dropped; of several frames
the first one counts.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import reprlib
import stat
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from gradsift.data.content import digest_files
from gradsift.errors import DataError
from gradsift.printable import printable

logger = logging.getLogger(__name__)

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
"""Endings of image files."""

Transform = Callable[[Any], Tensor]
"""From a Pillow image to a tensor."""
LARGEST = {"F": 1.0, "I": 65535.0, "I;16": 65535.0, "I;16B": 65535.0, "I;16L": 65535.0, "I;16N": 65535.0}
"""Modes of one channel with more than 8 bits, to the value that is white."""


class ImageBytes(Dataset):
    """Images as encoded bytes in a column of rows.

    Args:
        rows: A :class:`~gradsift.data.records.FileRows`, read when an image is needed.
        image: Name of the column.
        labels: Class numbers.
        classes: Names of the classes, if known.
        transform: From a Pillow image to a tensor.
    """

    def __init__(
        self,
        rows: Any,
        image: str,
        labels: np.ndarray,
        classes: list[str] | None,
        transform: Transform | None,
    ) -> None:
        self._rows, self._image, self.labels, self._transform = rows, image, labels, transform
        if classes is not None:
            self.classes = classes

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        """Image and label."""
        name = f"the image at position {position}"
        return _prepared(self._rows[position][self._image], name, self._transform), self.labels[position].item()

    def content(self) -> str:
        """Hash of all images and labels as they are stored."""
        labels = hashlib.sha256(self.labels.tobytes()).hexdigest()
        return f"{self._rows.content()} {labels}"


class ImageFolder(Dataset):
    """Images in one subfolder for each class.

    Args:
        root: The folder.
        transform: From a Pillow image to a tensor.
        classes: Names of the classes in the order of their numbers; the subfolders by name where left out.

    Attributes:
        files: The image files, by class and name.
        ids: Their places in the folder, such as ``cat/12.png``.
        classes: Names of the subfolders.
    """

    def __init__(self, root: Path | str, transform: Transform | None = None, classes: list[str] | None = None) -> None:
        root = Path(root)
        self.files, self.labels, self.classes = image_files(root, classes)
        self.ids = [printable(file.relative_to(root).as_posix()) for file in self.files]
        self._transform = transform

    def __len__(self) -> int:
        """Number of images."""
        return len(self.files)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        """Image and label."""
        file = self.files[position]
        return _prepared(read_file(file), str(file), self._transform), int(self.labels[position])

    def content(self) -> str:
        """Hash of all files by class and name."""
        return digest_files(self.files, self.labels.tolist())


def open_image(content: bytes | dict[str, Any], name: str = "the image") -> Any:
    """Decodes an image.

    Args:
        content: Encoded bytes, or a dict with them under ``bytes`` as Hugging Face data sets have it.
        name: File or position, for messages.

    Returns:
        A Pillow image; the first frame, where there are several.

    Raises:
        DataError: Pillow is not installed, or the bytes are no image, or one of more pixels than Pillow's limit.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise DataError("reading image files needs Pillow: pip install 'gradsift[image]'") from error
    encoded = content.get("bytes") if isinstance(content, dict) else content
    if not isinstance(encoded, bytes) or not encoded:
        raise DataError(f"{name} is no readable image: encoded bytes are needed, it holds {reprlib.repr(encoded)}")
    try:
        image = Image.open(io.BytesIO(encoded))
        pixels, most = image.width * image.height, Image.MAX_IMAGE_PIXELS
        if most is not None and pixels > most:
            raise Image.DecompressionBombError(
                f"its {pixels:,} pixels are above Pillow's limit of {most:,}, make it smaller or raise "
                "PIL.Image.MAX_IMAGE_PIXELS"
            )
        if getattr(image, "is_animated", False):
            warnings.warn("some images have several frames: the first one of each is read", stacklevel=2)
        return image.copy()
    except Exception as error:  # decoders fail in many ways on bytes that are no image
        reason = "its format is unknown" if isinstance(error, UnidentifiedImageError) else str(error)
        raise DataError(
            f"{name} is no readable image ({reason or type(error).__name__:.300}): mend it or leave it out"
        ) from error


def read_file(file: Path) -> bytes:
    """Reads an image file; waits for no pipe.

    Args:
        file: The file.

    Returns:
        Its bytes.

    Raises:
        DataError: It is gone, no regular file, or cannot be read.
    """
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise DataError(f"{file} is no regular file: take it out of the folder")
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}): mend it or take it out of the folder") from error


def to_tensor(image: Any) -> Tensor:
    """An image as a tensor.

    Args:
        image: A Pillow image.

    Returns:
        Shape (3, h, w), or (1, h, w) for a grey one of 8 or 16 bits, float32 in [0, 1].

    Raises:
        DataError: The image holds numbers that have no place in [0, 1].
    """
    if image.mode in LARGEST:
        array = _grey(image)
    else:
        array = np.asarray(image if image.mode in ("L", "RGB") else to_rgb(image), dtype=np.float32) / 255
    return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1).copy())


def to_rgb(image: Any) -> Any:
    """An image with three channels of 8 bits.

    Args:
        image: A Pillow image.

    Returns:
        A Pillow image of the mode RGB; of 16 bits the upper 8 remain.

    Raises:
        DataError: The image holds numbers that have no place in this range.
    """
    if image.mode in LARGEST:
        from PIL import Image

        image = Image.fromarray(np.rint(255 * _grey(image)).astype(np.uint8))
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise DataError(
            f"an image of the mode {image.mode} cannot be made RGB: convert it, or give a transform"
        ) from error


def _grey(image: Any) -> np.ndarray:
    """An image of one channel with more than 8 bits, shape (h, w), float32 in [0, 1]."""
    values, largest = np.asarray(image, dtype=np.float64), LARGEST[image.mode]
    if not (values.min() >= 0 and values.max() <= largest):  # also NaN
        raise DataError(
            f"an image of the mode {image.mode} holds {values.min():.4g} to {values.max():.4g}, where 0 is black and "
            f"{largest:g} is white: give a transform that knows its range"
        )
    return (values / largest).astype(np.float32)


def _prepared(content: Any, name: str, transform: Transform | None) -> Tensor:
    image = open_image(content, name)
    if transform is not None:
        return transform(image)
    try:
        return to_tensor(image)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error


def image_files(root: Path, classes: list[str] | None = None) -> tuple[list[Path], np.ndarray, list[str]]:
    """Finds the images of a folder, in the order of their positions.

    Args:
        root: Folder with one subfolder for each class.
        classes: Names of the classes in the order of their numbers; the subfolders by name where left out.

    Returns:
        The files by class and name, their class numbers, and the names of the classes. Folders, pipes and links without a
        target that are named like images are left out, with a warning.

    Raises:
        DataError: There are no images, or classes that are not among those given, or files that cannot be read.
    """
    if not root.is_dir():
        raise DataError(f"there is no folder {root}: give one that holds a folder of images for each class")
    found_classes = sorted(folder.name for folder in root.iterdir() if folder.is_dir())
    classes = found_classes if classes is None else classes
    unknown = sorted(set(found_classes) - set(classes))
    if unknown:
        raise DataError(f"{root} has the classes {', '.join(unknown[:10])}, which are no classes of the training set")
    odd = [name for name in classes if printable(name) != name]
    if odd:
        raise DataError(f"the names of the folders {reprlib.repr(odd)} hold unprintable characters: rename them")
    files, labels, odd_files = list[Path](), list[int](), list[Path]()
    for number, name in enumerate(classes):
        found = [file for file in _walk(root / name) if file.suffix.lower() in SUFFIXES]
        regular = [file for file in found if _is_regular(file)]
        odd_files += sorted(set(found) - set(regular))
        files += regular
        labels += [number] * len(regular)
    if odd_files:
        logger.warning(
            "%d entries of %s are named like images and are no files, so they are left out: %s",
            len(odd_files), root, _some(odd_files),
        )  # fmt: skip
    if not files:
        raise DataError(
            f"{root} holds no .parquet files, no .tar shards and no images in subfolders: give one file, or a subfolder "
            "of images for each class"
        )
    broken = [file for file in files if not file.stat().st_size or not os.access(file, os.R_OK)]
    if broken:
        raise DataError(f"{len(broken)} images are empty or may not be read, mend or remove them: {_some(broken)}")
    return files, np.asarray(labels, dtype=np.int64), classes


def _walk(folder: Path) -> list[Path]:
    """All entries below a folder, sorted; links to folders are not followed."""
    if not folder.is_dir():
        return []

    def refuse(error: OSError) -> None:
        raise DataError(f"the folder {error.filename} cannot be read ({error.strerror})") from error

    entries = (
        Path(parent) / name for parent, folders, names in os.walk(folder, onerror=refuse) for name in [*folders, *names]
    )
    return sorted(entries)


def _is_regular(file: Path) -> bool:
    try:
        return stat.S_ISREG(file.stat().st_mode)
    except OSError:  # a link without a target, or one to itself
        return False


def _some(files: list[Path]) -> str:
    more = f" and {len(files) - 3} more" if len(files) > 3 else ""
    return ", ".join(map(str, files[:3])) + more
