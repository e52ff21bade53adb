"""Folders of images by class."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np

from gradsift.data.batch import GIVEN_LABEL
from gradsift.data.images import image_files
from gradsift.data.records.base import Records, check_counts
from gradsift.data.records.changes import Changes
from gradsift.errors import DataError
from gradsift.locations import Location, is_inside
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

    path: Path

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.files = image_files(path)[0]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.files)

    def write(self, keep: np.ndarray, output: Location) -> None:
        """Copies the files that are kept into a new folder, all of them or none."""
        self._refuse_inside(output)
        self._refuse_other(keep)
        with new_folder(output) as aside:
            check_counts(self.path, keep, *self._copy(keep, aside))

    def _refuse_inside(self, output: Location) -> None:
        if is_inside(output, self.origin):
            raise DataError(
                f"{output} lies inside {self.origin} and would become one of its classes: choose another place"
            )

    def write_changed(self, changes: Changes, output: Location) -> None:
        """Copies all files, those with another label into the folder of that class; a csv file lists the given labels."""
        if changes.added:
            raise DataError(
                f"a folder of images has no place for {', '.join(changes.added)}: drop or relabel, or use Python, where "
                "gradsift.correct gives a data set with them"
            )
        if changes.values:
            raise DataError("a folder of images by class holds one class an image: there is no place for other labels")
        self._refuse_inside(output)
        self._refuse_other(np.ones(changes.size, dtype=bool))
        with new_folder(output) as aside:
            self._copy_changed(changes, aside)

    def _copy_changed(self, changes: Changes, output: Path) -> None:
        moved = []
        for position, file in enumerate(self.files):
            own = file.relative_to(self.path)
            like = self.files[changes.like.get(position, position)].relative_to(self.path)
            place = output / like.parts[0] / Path(*own.parts[1:])
            if position in changes.like:
                taken = place.exists() or (self.path / place.relative_to(output)).exists()
                place = place.with_stem(f"{place.stem}-from-{own.parts[0]}") if taken else place
                moved.append((place.relative_to(output).as_posix(), own.parts[0]))
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, place)
        with (output / f"{GIVEN_LABEL}.csv").open("w", encoding="utf-8", newline="") as listing:
            csv.writer(listing).writerows([("file", GIVEN_LABEL), *moved])
        check_counts(
            self.path, np.ones(changes.size, dtype=bool), sum(one.is_file() for one in output.rglob("*")) - 1, 0
        )

    def _copy(self, keep: np.ndarray, output: Path) -> tuple[int, int]:
        kept = [file for file, wanted in zip(self.files, keep, strict=True) if wanted]
        for file in kept:
            place = output / file.relative_to(self.path)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, place)
        written = sum(place.is_file() for place in output.rglob("*"))
        return written, len(keep) - len(kept)
