"""What every reader of records offers: their number, their columns, and a copy of those that are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from gradsift.data.records.access import AsideReader, RowReader
from gradsift.data.records.changes import Changes
from gradsift.errors import DataError
from gradsift.locations import Location
from gradsift.writing import new_file

BLOCK = 8 * 2**20
"""About so many bytes are read, held and written at a time."""


class Records(ABC):
    """The samples of a file or folder, in its order.

    An audit reads through it and a trim writes through it, so both count the same records.

    Args:
        path: The file or folder.

    Attributes:
        path: The file or folder.
        origin: Where the user has it; ``path`` may be a copy of it.
    """

    def __init__(self, path: Location) -> None:
        self.path = self.origin = path

    @abstractmethod
    def __len__(self) -> int:
        """Number of records."""

    def write(self, keep: np.ndarray, output: Location) -> None:
        """Copies the records that are kept, as they stand, into a new file of the same kind.

        Args:
            keep: Which records are kept, bool of shape (n,).
            output: The new file.

        Raises:
            DataError: The output is named like another kind of file, or the file holds another number of records.
            OutputError: Something stands at the output, or it cannot be written.
        """
        self._refuse_suffix(output)
        self._refuse_other(keep)
        with new_file(output) as aside:
            written, removed = self._copy(keep, aside)
            check_counts(self.path, keep, written, removed)

    def write_changed(self, changes: Changes, output: Location) -> None:
        """Copies all records with more columns, or with other labels, into a new file of the same kind.

        Args:
            changes: The changes.
            output: The new file.

        Raises:
            DataError: The output is named like another kind of file, the file holds another number of records or has such
                columns already, or its kind has no place for them.
            OutputError: Something stands at the output, or it cannot be written.
        """
        self._refuse_other(np.ones(changes.size, dtype=bool))
        self._refuse_suffix(output)
        with new_file(output) as aside:
            self._copy_changed(changes, aside)

    @abstractmethod
    def _copy_changed(self, changes: Changes, output: Path) -> None:
        """Writes all records with the changes."""

    def _refuse_suffix(self, output: Location) -> None:
        if output.suffix.lower() != self.path.suffix.lower():
            raise DataError(f"{output.name} must be of the kind that came in: name it *{self.path.suffix}")

    def _refuse_present(self, changes: Changes, names: Sequence[str]) -> None:
        present = [name for name in changes.added if name in names]
        if present:
            raise DataError(
                f"{self.path} has a column {present[0]!r} already, of an earlier correction: correct the file without it"
            )

    def _refuse_other(self, keep: np.ndarray) -> None:
        """Refuses a choice among another number of records, before anything is written."""
        check_counts(self.path, keep, int(keep.sum()), len(self) - int(keep.sum()))

    @abstractmethod
    def _copy(self, keep: np.ndarray, output: Path) -> tuple[int, int]:
        """Writes what is kept and counts what was written and what was passed over."""


class Table(Records):
    """Records with named columns, read block by block.

    Attributes:
        schema: Names and types of the columns.
        nested: Columns that hold lists or objects and are read as text.
    """

    schema: pa.Schema
    nested: frozenset[str] = frozenset()

    @property
    def names(self) -> list[str]:
        """Names of the columns, in the order of the file."""
        return list(self.schema.names)

    @abstractmethod
    def batches(self, names: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Reads the records in order, in pieces of about :data:`BLOCK` bytes.

        Args:
            names: Columns to read; all where left out.

        Yields:
            Consecutive records, with columns in the order of ``names`` and types of the schema.
        """

    def reader(self, names: Sequence[str] | None = None) -> RowReader:
        """Opens the table to read rows by position.

        Args:
            names: Columns to read; all where left out.

        Returns:
            The reader; of a file without positions, it writes the rows aside first.
        """
        return AsideReader(self.batches(names))

    def read(self, names: Sequence[str]) -> pa.Table:
        """Reads some columns whole.

        Args:
            names: The columns.

        Returns:
            A table of shape (n, columns).

        Raises:
            DataError: There is no such column.
        """
        absent = [name for name in names if name not in self.schema.names]
        if absent:
            raise DataError(f"{self.path} has no column {absent[0]!r}: its columns are {', '.join(self.names)}")
        schema = pa.schema([self.schema.field(name) for name in names])
        return pa.Table.from_batches(list(self.batches(names)), schema)


def check_counts(path: Location, keep: np.ndarray, written: int, removed: int) -> None:
    """Refuses a copy in which the records kept and removed are not those that were audited.

    Args:
        path: The file that was read, for the message.
        keep: Which records are kept, bool of shape (n,).
        written: How many were written.
        removed: How many were passed over.

    Raises:
        DataError: The numbers differ.
    """
    if (written, written + removed) != (int(keep.sum()), len(keep)):
        raise DataError(
            f"{path} holds {written + removed} records and {len(keep)} were audited: pass the file that was audited, as "
            "it was"
        )


def refuse_twice(path: Location, names: Sequence[str]) -> None:
    """Refuses columns of the same name.

    Args:
        path: The file, for the message.
        names: Names of the columns.

    Raises:
        DataError: A name stands more than once.
    """
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path} has several columns named {', '.join(map(repr, twice))}: give each a name of its own")
