"""Tables in Parquet files, whose pages carry checksums."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gradsift.errors import OutputError, RunDirectoryError
from gradsift.locations import Location, as_location, local_copy
from gradsift.scratch import empty, temporary
from gradsift.writing import never, new_file, writing

ROW_GROUP = 16_384
"""Rows of a group: the writer's buffers, like everything else, do not grow with the number of samples."""
IN_MEMORY = 2**20
"""Rows of a table that are held in memory, with about 150 bytes each."""
KEY = b"gradsift"
TOKENS = "tokens.parquet"
"""The table of tokens in a run directory."""


def joined(pieces: Iterable[pa.Table], rows: int) -> pa.Table:
    """Puts the pieces of a table together: in memory if they are few, otherwise in a temporary file, mapped into memory.

    The file lies where ``TMPDIR`` says, and is gone when nothing reads the table any longer.

    Args:
        pieces: Consecutive rows, at least one piece.
        rows: How many rows there are in all.

    Returns:
        The table.

    Raises:
        OutputError: The disk of the temporary folder is full.
    """
    if rows <= IN_MEMORY:
        return pa.concat_tables(pieces).combine_chunks()
    file, rest = temporary(), iter(pieces)
    with writing(Path(tempfile.gettempdir()) / "table"):
        first = next(rest)
        with pa.ipc.new_file(file, first.schema) as stream:
            for piece in chain([first], rest):
                stream.write_table(piece)
        file.flush()
    return pa.ipc.open_file(pa.py_buffer(np.memmap(file, np.uint8, "r"))).read_all()


def write_table(
    table: pa.Table,
    path: str | Location,
    *,
    replaces: Callable[[Location], bool] = never,
    kind: type[OutputError] = OutputError,
) -> None:
    """Writes a table, whole or not at all.

    Args:
        table: The table.
        path: Its file.
        replaces: Whether a file that already stands there may be replaced.
        kind: Class of the errors to raise.

    Raises:
        OutputError: A file stands there, or it cannot be written.
    """
    with new_file(path, replaces=replaces, kind=kind) as aside:
        pq.write_table(table, aside, row_group_size=ROW_GROUP, use_dictionary=["reason"], write_page_checksum=True)


def read_table(path: str | Location) -> pa.Table:
    """Reads a table; pages are compared with their checksums, where they carry any.

    Args:
        path: Its file.

    Returns:
        The table.

    Raises:
        RunDirectoryError: It cannot be read, or is damaged.
    """
    try:
        with pq.ParquetFile(local_copy(as_location(path)), page_checksum_verification=True) as file:
            rows, groups = file.metadata.num_rows, file.num_row_groups
            if rows <= IN_MEMORY or not groups:
                return file.read()
            return joined((file.read_row_group(number) for number in range(groups)), rows)
    except (OSError, pa.ArrowException) as error:
        raise RunDirectoryError(f"{path} cannot be read ({error}): audit again, or name another table") from error


def numbers_of(column: pa.ChunkedArray) -> np.ndarray:
    """A column of numbers as an array; one in many pieces is put together in a temporary file, where it is large.

    Args:
        column: The column; missing numbers become NaN.

    Returns:
        Shape (rows,).
    """
    if column.num_chunks == 1 or column.null_count:
        return column.to_numpy()
    numbers, start = empty(len(column), column.type.to_pandas_dtype()), 0
    for chunk in column.chunks:
        numbers[start : start + len(chunk)] = chunk.to_numpy(zero_copy_only=False)
        start += len(chunk)
    return numbers


def about_table(table: pa.Table | pa.Schema) -> dict[str, Any]:
    """What a table says of itself: its detector, names of classes, the run and the data that it belongs to.

    Args:
        table: The table, or its schema.

    Returns:
        Names to values; empty where gradsift has not made it.
    """
    schema = table.schema if isinstance(table, pa.Table) else table
    found: dict[str, Any] = json.loads((schema.metadata or {}).get(KEY, b"{}"))
    return found


def is_influence_table(path: Location) -> bool:
    """Whether a file is a table of ``gradsift influence``, which a later one may replace.

    Args:
        path: The file.

    Returns:
        False for the table of a run, and for data, also where gradsift has trimmed it.
    """
    try:
        schema = pq.read_schema(local_copy(path))
        return "detector" in about_table(schema) and "influence" in schema.names
    except (OSError, ValueError, pa.ArrowException):
        return False
