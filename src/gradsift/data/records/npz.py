"""Archives of numpy arrays, read and written a few rows at a time, compressed or not."""

from __future__ import annotations

import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.lib import format as npy

from gradsift.data.records.base import BLOCK, Records, check_counts
from gradsift.data.records.changes import Changes
from gradsift.errors import DataError, UnsafeFileError


class Array(NamedTuple):
    """What an archive says of an array.

    Attributes:
        shape: Its shape.
        dtype: Its type.
        fortran: Whether its columns lie together, so that it must be read whole.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool


class NpzFile(Records):
    """An ``.npz`` file.

    Args:
        path: The file.

    Attributes:
        arrays: Name to what is known of the array.

    Raises:
        DataError: It is broken, or holds a single array.
        UnsafeFileError: It holds pickled objects.
    """

    path: Path

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with path.open("rb") as file:
            if file.read(len(npy.MAGIC_PREFIX)) == npy.MAGIC_PREFIX:
                raise DataError(f"{path} holds a single array: save inputs and labels with np.savez")
        with self._opened() as archive:
            self._members = {name.removesuffix(".npy"): name for name in archive.namelist()}
        self.arrays = {name: self._described(name) for name in self._members}

    def __len__(self) -> int:
        """Length of the longest array."""
        return max((array.shape[0] for array in self.arrays.values() if array.shape), default=0)

    def read(self, name: str) -> np.ndarray:
        """An array whole.

        Args:
            name: Its name.

        Returns:
            The array.

        Raises:
            DataError: There is none of this name.
        """
        if name not in self.arrays:
            raise DataError(
                f"{self.path} has no array {name!r} (no column {name!r}): it holds {', '.join(self.arrays)}"
            )
        array = self.arrays[name]
        if not array.shape:
            raise DataError(f"{self.path}: the array {name!r} is a single value: it needs one row a sample")
        return np.concatenate([np.empty((0, *array.shape[1:]), array.dtype), *self.blocks(name)])

    def blocks(self, name: str) -> Iterator[np.ndarray]:
        """An array in pieces of about :data:`gradsift.data.records.base.BLOCK` bytes.

        Args:
            name: Its name.

        Yields:
            Consecutive rows; an array whose columns lie together comes whole.
        """
        array = self.arrays[name]
        with self._opened() as archive, archive.open(self._members[name]) as member:
            _header(member)
            row = int(np.prod(array.shape[1:])) * array.dtype.itemsize
            size = array.shape[0] if array.fortran else max(1, BLOCK // max(1, row))
            for start in range(0, array.shape[0], size):
                rows = min(size, array.shape[0] - start)
                content = member.read(rows * row)
                if len(content) < rows * row:
                    raise DataError(f"{self.path} is no readable npz file (the array {name!r} is cut off)")
                values = np.frombuffer(content, array.dtype) if row else np.empty(0, array.dtype)
                shape = (rows, *array.shape[1:])
                yield values.reshape(shape[::-1]).T if array.fortran else values.reshape(shape)

    def _refuse_other(self, keep: np.ndarray) -> None:
        if not any(array.shape[:1] == (len(keep),) for array in self.arrays.values()):
            check_counts(self.path, keep, int(keep.sum()), len(self) - int(keep.sum()))

    def _copy(self, keep: np.ndarray, output: Path) -> tuple[int, int]:
        counts = set()
        with self._opened() as archive, zipfile.ZipFile(output, "w") as copy:
            for name, array in self.arrays.items():
                info = archive.getinfo(self._members[name])
                with copy.open(_like(info), "w", force_zip64=True) as member:
                    if not array.shape or array.shape[0] != len(keep):
                        with archive.open(info) as whole:
                            while piece := whole.read(BLOCK):
                                member.write(piece)
                        continue
                    counts.add(self._copy_rows(name, keep, member))
        return counts.pop() if len(counts) == 1 else (0, 0)

    def _copy_changed(self, changes: Changes, output: Path) -> None:
        names = list(self.arrays)
        self._refuse_present(changes, names)
        given, new = changes.given_name(names), dict(changes.added)
        if changes.label is not None:
            labels = self.read(changes.label)
            new |= {} if given is None else {given: labels}
            new[changes.label] = labels[[changes.like.get(place, place) for place in range(len(labels))]]
            for position, value in changes.values.items():
                new[changes.label][position] = value
        with self._opened() as archive, zipfile.ZipFile(output, "w") as copy:
            infos = {name: archive.getinfo(self._members[name]) for name in names}
            kind = next(iter(infos.values())).compress_type
            for name, info in infos.items():
                if name not in new:
                    with archive.open(info) as member, copy.open(_like(info), "w", force_zip64=True) as place:
                        shutil.copyfileobj(member, place, BLOCK)
            for name, values in new.items():
                info = infos.get(name) or zipfile.ZipInfo(f"{name}.npy")
                info.compress_type = kind
                with copy.open(_like(info), "w", force_zip64=True) as place:
                    npy.write_array(place, np.ascontiguousarray(values), allow_pickle=False)

    def _copy_rows(self, name: str, keep: np.ndarray, member: IO[bytes]) -> tuple[int, int]:
        array = self.arrays[name]
        description = {"descr": npy.dtype_to_descr(array.dtype), "fortran_order": False}
        npy.write_array_header_1_0(member, description | {"shape": (int(keep.sum()), *array.shape[1:])})
        written = passed = 0
        for block in self.blocks(name):
            chosen = block[keep[written + passed : written + passed + len(block)]]
            member.write(np.ascontiguousarray(chosen).tobytes())
            written, passed = written + len(chosen), passed + len(block) - len(chosen)
        return written, passed

    def _described(self, name: str) -> Array:
        with self._opened() as archive, archive.open(self._members[name]) as member:
            array = _header(member)
        if array.dtype.hasobject:
            raise UnsafeFileError(f"{self.path} holds pickled objects (the array {name!r}): save plain arrays only")
        return array

    @contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                yield archive
        except (OSError, EOFError, KeyError, NotImplementedError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            if isinstance(error, DataError | UnsafeFileError):
                raise
            raise DataError(f"{self.path} is no readable npz file ({error})") from error


def _like(info: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """A member of a copy, of the same name, date and compression."""
    new = zipfile.ZipInfo(info.filename, info.date_time)
    new.compress_type = info.compress_type
    return new


def _header(member: IO[bytes]) -> Array:
    version = npy.read_magic(member)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"npy version {version} is not read: save plain arrays with np.savez")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(member)
    return Array(shape, dtype, fortran and len(shape) > 1)
