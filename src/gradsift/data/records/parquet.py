"""Parquet files, read and written by row group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gradsift.data.added_columns import as_column, refuse_unheld
from gradsift.data.records.access import BlockReader, RowReader
from gradsift.data.records.base import BLOCK, Table, refuse_twice
from gradsift.data.records.changes import Changes
from gradsift.errors import DataError
from gradsift.locations import Location, RemotePath

STREAM = 64 * 2**10
"""Bytes of each column that are read ahead within a row group, so that a huge one is not held whole."""
ROW_GROUP = 32 * 2**20
"""About so many bytes of kept records make a row group of a copy."""
LARGE_GROUP = 128 * 2**20
"""Row groups of more bytes are not held whole."""
MOST_ROWS = 8192
"""Most records of a piece, for columns whose size in the file says little of that in memory."""


class ParquetFile(Table):
    """A ``.parquet`` file, local or in a store.

    Args:
        path: The file.

    Raises:
        DataError: It is broken, or two columns have the same name.
    """

    def __init__(self, path: Location) -> None:
        super().__init__(path)
        with self._open() as file:
            self.schema = file.schema_arrow
            self._metadata = file.metadata
            refuse_twice(path, list(self.schema.names))

    def __len__(self) -> int:
        """Number of rows."""
        return int(self._metadata.num_rows)

    @property
    def group_sizes(self) -> list[int]:
        """Number of rows of each row group."""
        return [self._metadata.row_group(group).num_rows for group in range(self._metadata.num_row_groups)]

    @property
    def largest_group(self) -> int:
        """Bytes of the largest row group."""
        groups = range(self._metadata.num_row_groups)
        return max((self._metadata.row_group(group).total_byte_size for group in groups), default=0)

    def batches(self, names: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Rows in order, a piece of a row group at a time."""
        with self._open() as file:
            groups = [file.metadata.row_group(group) for group in range(file.metadata.num_row_groups)]
            for number, group in enumerate(groups):
                size = max(1, group.total_byte_size // max(1, group.num_rows))
                rows = int(np.clip(BLOCK // size, 1, MOST_ROWS))
                for batch in file.iter_batches(rows, [number], names, use_threads=False):
                    yield batch.select(list(names)) if names is not None else batch

    def reader(self, names: Sequence[str] | None = None) -> RowReader:
        """Rows by position: straight from row groups, unless one of them is too large to be held."""
        if self.largest_group > LARGE_GROUP:
            return super().reader(names)
        return _RowGroups(self, self.group_sizes, names)

    def read_group(self, number: int, names: Sequence[str] | None) -> pa.Table:
        """Reads a row group.

        Args:
            number: Which one.
            names: Columns to read; all where ``None``.

        Returns:
            Its rows.
        """
        with self._open() as file:
            table = file.read_row_group(number, names, use_threads=False)
        return table if names is None else table.select(list(names))

    def _copy(self, keep: np.ndarray, output: Path) -> tuple[int, int]:
        return self.copy(keep, output)

    def copy(self, keep: np.ndarray, output: Path) -> tuple[int, int]:
        """Writes the rows that are kept.

        Args:
            keep: Which rows, bool of shape (n,).
            output: The new file.

        Returns:
            How many were written and how many passed over.
        """
        written = removed = held = 0
        waiting: list[pa.RecordBatch] = []
        with pq.ParquetWriter(output, self.schema, compression=self._compression(), write_page_checksum=True) as writer:
            for batch in self.batches():
                start = written + removed
                chosen = batch.filter(pa.array(keep[start : start + len(batch)]))
                written, removed = written + len(chosen), removed + len(batch) - len(chosen)
                waiting.append(chosen)
                held += chosen.nbytes
                if held > ROW_GROUP:
                    writer.write_table(pa.Table.from_batches(waiting))
                    waiting, held = [], 0
            writer.write_table(pa.Table.from_batches(waiting, self.schema))
        return written, removed

    def _copy_changed(self, changes: Changes, output: Path) -> None:
        self._refuse_present(changes, self.names)
        labels = None if changes.label is None else self.read([changes.label])[changes.label]
        self.copy_changed(changes, output, 0, labels)

    def copy_changed(self, changes: Changes, output: Path, start: int, labels: pa.ChunkedArray | None) -> None:
        """Writes all rows with the changes.

        Args:
            changes: The changes, of the whole data set.
            output: The new file.
            start: Position of the first row in the data set.
            labels: The labels of the whole data set, where some are replaced.
        """
        given, label, schema = changes.given_name(self.names), changes.label, self.schema
        if label is not None and given is not None:
            schema = schema.append(self.schema.field(label).with_name(given))
        for name, values in changes.added.items():
            schema = schema.append(pa.field(name, as_column(values[:0]).type))
        with pq.ParquetWriter(output, schema, compression=self._compression(), write_page_checksum=True) as writer:
            for batch in self.batches():
                stop, columns = start + len(batch), dict(zip(batch.schema.names, batch.columns, strict=True))
                if label is not None and labels is not None:
                    like = [changes.like.get(place, place) for place in range(start, stop)]
                    columns |= {} if given is None else {given: columns[label]}
                    columns[label] = _replaced(labels.take(pa.array(like)).combine_chunks(), changes, label, start)
                columns |= {name: as_column(values[start:stop]) for name, values in changes.added.items()}
                writer.write_table(pa.table([columns[name] for name in schema.names], schema=schema))
                start = stop

    def _compression(self) -> dict[str, str] | str:
        """Each column's compression in the source."""
        if not self._metadata.num_row_groups:
            return "snappy"
        group = self._metadata.row_group(0)
        columns = [group.column(number) for number in range(group.num_columns)]
        return {
            column.path_in_schema: "NONE" if column.compression == "UNCOMPRESSED" else column.compression
            for column in columns
        }

    @contextmanager
    def _open(self) -> Iterator[pq.ParquetFile]:
        try:
            if isinstance(self.path, RemotePath):  # by ranges: of a row group, the columns that are asked for
                with (
                    self.path.open() as content,
                    pq.ParquetFile(content, pre_buffer=True, page_checksum_verification=True) as file,
                ):
                    yield file
                return
            with pq.ParquetFile(
                self.path, buffer_size=STREAM, pre_buffer=False, page_checksum_verification=True
            ) as file:
                yield file
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DataError(f"{self.path} is no readable parquet file ({error})") from error


def _replaced(labels: pa.Array, changes: Changes, name: str, start: int) -> pa.Array:
    """Labels of rows from some position on, with the new ones in their place."""
    new = {
        place - start: changes.values[place] for place in range(start, start + len(labels)) if place in changes.values
    }
    if not new:
        return labels
    refuse_unheld(name, new.values(), labels.type)
    values = labels.to_pylist()
    for place, value in new.items():
        values[place] = value
    return pa.array(values, labels.type)


class _RowGroups(BlockReader):
    """Rows by position, a row group at a time."""

    def __init__(self, file: ParquetFile, sizes: list[int], names: Sequence[str] | None) -> None:
        super().__init__(sizes)
        self._parquet, self._names = file, names

    def _load(self, number: int) -> pa.Table:
        return self._parquet.read_group(number, self._names)
