"""Data sets of many files: which files they are, and copies that are made file by file."""

from __future__ import annotations

import glob
import os
import re
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from gradsift.data.images import SUFFIXES
from gradsift.data.records.base import Table, check_counts
from gradsift.data.records.changes import Changes
from gradsift.errors import DataError
from gradsift.locations import Location, RemotePath, is_inside, relative
from gradsift.locations.uploads import is_unfinished
from gradsift.writing import new_folder

PARTS = (".parquet", ".tar")
"""Endings of files that are read as parts of one data set."""
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MAGIC = re.compile(r"[*?\[]")


class Parts(Table):
    """A data set in several files of one kind, one behind the other in the order of their names.

    Args:
        path: What the user calls it: a folder, or a pattern.
        files: The files, at least one.

    Attributes:
        files: The files.
    """

    def __init__(self, path: Location, files: Sequence[Location]) -> None:
        super().__init__(path)
        self.files = list(files)
        names = [file.key if isinstance(file, RemotePath) else str(file) for file in self.files]
        above = os.path.commonpath([os.path.dirname(name) for name in names])  # noqa: PTH120  # of keys, too
        self._names = [name.removeprefix(above).lstrip("/\\") for name in names]

    @property
    @abstractmethod
    def counts(self) -> list[int]:
        """Number of records of each file."""

    def __len__(self) -> int:
        """Number of records."""
        return sum(self.counts)

    def write(self, keep: np.ndarray, output: Location) -> None:
        """Copies the records that are kept into a new folder of files with the same names, all of them or none."""
        self._refuse_inside(output)
        self._refuse_other(keep)
        with new_folder(output) as aside:
            check_counts(self.path, keep, *self._copy(keep, aside))

    def write_changed(self, changes: Changes, output: Location) -> None:
        """Copies all records, with the changes, into a new folder of files with the same names, all of them or none."""
        self._refuse_inside(output)
        self._refuse_other(np.ones(changes.size, dtype=bool))
        with new_folder(output) as aside:
            self._copy_changed(changes, aside)

    def _copy(self, keep: np.ndarray, output: Path) -> tuple[int, int]:
        written = removed = 0
        for number, place in enumerate(self._places(output)):
            start = written + removed
            done = self._copy_part(number, keep[start : start + self.counts[number]], place)
            written, removed = written + done[0], removed + done[1]
        return written, removed

    @abstractmethod
    def _copy_part(self, number: int, keep: np.ndarray, output: Path) -> tuple[int, int]:
        """Writes what is kept of a file; counts what was written and what was passed over."""

    def _places(self, output: Path) -> list[Path]:
        """Where the copies of the files lie; their folders are made."""
        places = [output / name for name in self._names]
        for folder in {place.parent for place in places}:
            folder.mkdir(parents=True, exist_ok=True)
        return places

    def _refuse_inside(self, output: Location) -> None:
        if is_inside(output, self.origin) or output == self.origin:
            raise DataError(f"{output} lies inside {self.origin} and would become a part of it: choose another place")


def has_pattern(path: Location) -> bool:
    """Whether a name stands for several files.

    Args:
        path: What the user gave.

    Returns:
        True for ``part-*.parquet``, ``shard-{000..127}.tar`` and the like, where there is no file of this name.
    """
    text = str(path)
    if not (_MAGIC.search(text) or _RANGE.search(text)):
        return False
    return isinstance(path, RemotePath) or not path.exists()


def parts_of(path: Location) -> list[Location]:
    """The files of a data set in several files; one listing.

    Args:
        path: A folder or a pattern; a single ``.tar`` file is a data set of one part.

    Returns:
        The files, by name; empty where the folder holds something else. Names that begin with ``.`` or ``_`` are left out.

    Raises:
        DataError: No file fits the pattern, files are of several kinds, or the folder is not written whole.
    """
    if has_pattern(path):
        files = sorted({file for text in _numbered(str(path)) for file in _fitting(path, text)}, key=str)
        if not files:
            raise DataError(f"no file matches {path}: correct the pattern")
        kinds = {file.suffix.lower() for file in files}
        if len(kinds) > 1 or not kinds <= set(PARTS):
            raise DataError(f"{path} stands for {', '.join(sorted(kinds))} files: name .parquet files or .tar files")
        return files
    if not path.is_dir():
        return [path] if path.suffix.lower() == ".tar" and path.is_file() else []
    if isinstance(path, RemotePath):
        if is_unfinished(path):
            raise DataError(f"{path} is being written, or its writing was killed: wait, or write it again")
        listed: list[Location] = [file for file in path.files() if not _hidden(relative(file, path))]
        ending = _telling(file.name for file in listed)
    else:
        ending = _first_ending(path)
        listed = [] if ending not in PARTS else [
            Path(folder) / name for folder, _, names in os.walk(path) for name in names
            if not _hidden((Path(folder) / name).relative_to(path).as_posix())
        ]  # fmt: skip
    if ending not in PARTS:
        return []
    return sorted((file for file in listed if file.suffix.lower() == ending), key=str)


def _first_ending(folder: Path) -> str:
    """Ending of the first file that tells, so that a folder of a million images is not listed to see that it is one."""
    for _, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _hidden(name))
        if ending := _telling(sorted(name for name in names if not _hidden(name))):
            return ending
    return ""


def _telling(names: Iterable[str]) -> str:
    """The first ending of parts or images: a README and other files beside them do not count."""
    endings = (PurePosixPath(name).suffix.lower() for name in names)
    return next((ending for ending in endings if ending in (*PARTS, *SUFFIXES)), "")


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "_")) for part in PurePosixPath(name).parts)


def _numbered(text: str) -> list[str]:
    """The names that ``{000..127}`` stands for."""
    found = _RANGE.search(text)
    if found is None:
        return [text]
    numbers = [str(number).zfill(len(found[1])) for number in range(int(found[1]), int(found[2]) + 1)]
    return [name for number in numbers for name in _numbered(text[: found.start()] + number + text[found.end() :])]


def _fitting(path: Location, text: str) -> list[Location]:
    if isinstance(path, RemotePath):
        place = RemotePath(path.protocol, text.split("://", 1)[1])
        return [*place.matching()] if _MAGIC.search(text) else [place]
    return [Path(name) for name in glob.glob(text, recursive=True)] if _MAGIC.search(text) else [Path(text)]  # noqa: PTH207  # an absolute pattern
