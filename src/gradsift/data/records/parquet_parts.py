"""Parquet data sets of many files, whose row groups are read by position."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from gradsift.data.records.access import BlockReader, RowReader
from gradsift.data.records.changes import Changes
from gradsift.data.records.parquet import LARGE_GROUP, ParquetFile
from gradsift.data.records.parts import Parts
from gradsift.errors import DataError
from gradsift.locations import Location
from gradsift.locations.remote import each


class ParquetParts(Parts):
    """A folder or pattern of ``.parquet`` files, local or in a store. The end of each file is read once.

    Rows that are read by position get an ``id``, the hash of their content, where the files have no such column.

    Args:
        path: What the user calls it.
        files: The files.

    Raises:
        DataError: A file is broken, or has other columns than the first.
    """

    def __init__(self, path: Location, files: Sequence[Location]) -> None:
        super().__init__(path, files)
        self._parts: list[ParquetFile] = each(ParquetFile, self.files)
        self.schema = self._parts[0].schema
        for part in self._parts[1:]:
            if not part.schema.equals(self.schema):
                raise DataError(
                    f"{part.path} has other columns than {self.files[0]} ({_difference(self.schema, part.schema)}): give "
                    "all files the same names and types, in the same order"
                )

    @property
    def counts(self) -> list[int]:
        """Number of rows of each file."""
        return [len(part) for part in self._parts]

    def batches(self, names: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Rows in order, a piece of a row group at a time."""
        for part in self._parts:
            yield from part.batches(names)

    def reader(self, names: Sequence[str] | None = None) -> RowReader:
        """Rows by position: straight from row groups, unless one of them is too large to be held."""
        groups = [(part, number) for part in self._parts for number in range(len(part.group_sizes))]
        sizes = [size for part in self._parts for size in part.group_sizes]
        if any(part.largest_group > LARGE_GROUP for part in self._parts):
            return super().reader(names)
        return _Groups(groups, sizes, names, with_ids="id" not in self.schema.names)

    def _copy_part(self, number: int, keep: np.ndarray, output: Path) -> tuple[int, int]:
        return self._parts[number].copy(keep, output)

    def _copy_changed(self, changes: Changes, output: Path) -> None:
        self._refuse_present(changes, self.names)
        labels = None if changes.label is None else self.read([changes.label])[changes.label]
        start = 0
        for part, place in zip(self._parts, self._places(output), strict=True):
            part.copy_changed(changes, place, start, labels)
            start += len(part)


class _Groups(BlockReader):
    """Rows by position, a row group of some file at a time."""

    def __init__(
        self, groups: list[tuple[ParquetFile, int]], sizes: list[int], names: Sequence[str] | None, *, with_ids: bool
    ) -> None:
        super().__init__(sizes)
        self._groups, self._names, self._with_ids = groups, names, with_ids

    def row(self, position: int) -> dict[str, Any]:
        """One row, with an id."""
        row = super().row(position)
        return (
            row | {"id": hashlib.sha256(repr(sorted(row.items())).encode()).hexdigest()[:16]} if self._with_ids else row
        )

    def _load(self, number: int) -> pa.Table:
        part, group = self._groups[number]
        return part.read_group(group, self._names)


def _difference(first: pa.Schema, other: pa.Schema) -> str:
    """The columns in which two files differ."""
    a, b = ({field.name: str(field.type) for field in schema} for schema in (first, other))
    unlike = [name for name in {**a, **b} if a.get(name) != b.get(name)]
    return ", ".join(f"{name}: {a.get(name, 'none')} and {b.get(name, 'none')}" for name in unlike[:5]) or "their order"
