"""Tables in Parquet files, whose pages carry checksums."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gradsift.errors import OutputError, RunDirectoryError
from gradsift.locations import Location, as_location, local_copy
from gradsift.writing import never, new_file

ROW_GROUP = 16_384
"""Rows of a group: the writer's buffers, like everything else, do not grow with the number of samples."""
KEY = b"gradsift"
TOKENS = "tokens.parquet"
"""The table of tokens in a run directory."""


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
        return pq.read_table(local_copy(as_location(path)), page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise RunDirectoryError(f"{path} cannot be read ({error}): audit again, or name another table") from error


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
