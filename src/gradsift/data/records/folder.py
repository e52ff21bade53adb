"""Folders of images by class."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from gradsift.data.images import image_files
from gradsift.data.records.base import Records, check_counts
from gradsift.errors import DataError
from gradsift.writing import new_folder


class ImageFiles(Records):
    """A folder with one subfolder of images for each class.

    Args:
        path: The folder.

    Attributes:
        files: The image files, by class and name.

    Raises:
        DataError: There are no images.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.files = image_files(path)[0]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.files)

    def write(self, keep: np.ndarray, output: Path) -> None:
        """Copies the files that are kept into a new folder, all of them or none."""
        if self.path.resolve() in output.resolve().parents:
            raise DataError(
                f"{output} lies inside {self.path} and would become one of its classes: choose another place"
            )
        self._refuse_other(keep)
        with new_folder(output) as aside:
            check_counts(self.path, keep, *self._copy(keep, aside))

    def _copy(self, keep: np.ndarray, output: Path) -> tuple[int, int]:
        kept = [file for file, wanted in zip(self.files, keep, strict=True) if wanted]
        for file in kept:
            place = output / file.relative_to(self.path)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, place)
        written = sum(place.is_file() for place in output.rglob("*"))
        return written, len(keep) - len(kept)
