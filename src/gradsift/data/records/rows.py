"""The rows of a file as a data set that is read by position."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from gradsift.data.content import digest_batches
from gradsift.data.records.access import RowReader
from gradsift.data.records.base import Table


class FileRows(Sequence[dict[str, Any]]):
    """Rows with named columns of a table in a file, of which only a few blocks are in memory.

    Args:
        table: The table.
        names: Its columns to read; all where left out.
        label: The column of labels, where it has no usual name.

    Attributes:
        table: The table.
        column_names: The columns.
        label: The column of labels, where it is known.
    """

    def __init__(self, table: Table, names: Sequence[str] | None = None, label: str | None = None) -> None:
        self.table, self.column_names, self.label = table, table.names if names is None else list(names), label
        self._reader: RowReader | None = None

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the file's columns, with what its writer noted about them."""
        return self.table.schema

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.table)

    def __getitem__(self, position: Any) -> Any:
        """One row."""
        position = int(position) + (len(self) if position < 0 else 0)
        if not 0 <= position < len(self):
            raise IndexError(f"position {position} of {len(self)} rows")
        if self._reader is None:
            self._reader = self.table.reader(self.column_names)
        return self._reader.row(position)

    is_plain = True
    """Samples are what is stored."""

    def content(self) -> str:
        """Hash of all values."""
        return digest_batches(self.batches())

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows as columns, piece by piece.

        Yields:
            Consecutive rows.
        """
        yield from self.table.batches(self.column_names)

    def __getstate__(self) -> dict[str, Any]:
        """Without what is open, which another process opens for itself."""
        return self.__dict__ | {"_reader": None}
