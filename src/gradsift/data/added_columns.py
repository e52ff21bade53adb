"""Columns beside those of a data set's rows, whatever kind of rows it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from gradsift.data.frames import is_frame
from gradsift.errors import DataError


def has_columns(rows: Any) -> bool:
    """Whether columns can be added to a data set as a whole.

    Args:
        rows: A data set.

    Returns:
        True for a ``pyarrow.Table``, a dict of arrays, a list of dicts, a data frame, and a ``datasets.Dataset``.
    """
    of_dicts = isinstance(rows, list) and bool(rows) and isinstance(rows[0], dict)
    return (
        isinstance(rows, pa.Table | dict) or of_dicts or is_frame(rows) or callable(getattr(rows, "add_column", None))
    )


def with_columns(rows: Any, columns: Mapping[str, Any]) -> Any:
    """The rows with more columns; columns of the same name are replaced.

    Args:
        rows: A data set that has columns; see :func:`has_columns`.
        columns: Name to values, one a row, as an array of pyarrow; a fixed-size list of K values becomes an
            array of shape (n, K) in a dict.

    Returns:
        New rows of the same kind, in the same order.

    Raises:
        DataError: The data set has no columns.
    """
    if isinstance(rows, pa.Table):
        rows = rows.drop_columns([name for name in columns if name in rows.column_names])
        for name, column in columns.items():
            rows = rows.append_column(name, column)
        return rows
    if isinstance(rows, dict):
        return rows | {name: as_array(column) for name, column in columns.items()}
    if is_frame(rows):
        return rows.assign(**{name: column.to_pandas().to_numpy() for name, column in columns.items()})
    if not has_columns(rows):
        raise DataError(
            f"a {type(rows).__name__} has no columns to add to: use audit.table, whose rows are in the same order"
        )
    if isinstance(rows, list):
        values = {name: column.to_pylist() for name, column in columns.items()}
        return [row | {name: column[place] for name, column in values.items()} for place, row in enumerate(rows)]
    rows = rows.remove_columns([name for name in columns if name in rows.column_names])
    for name, column in columns.items():
        rows = rows.add_column(name, column)
    return rows


def refuse_unheld(name: str, values: Iterable[Any], kind: pa.DataType) -> None:
    """Refuses new values that a column's type cannot hold, which pyarrow would round or fail to write.

    Args:
        name: The column.
        values: The new values.
        kind: Its type.

    Raises:
        DataError: A value does not fit.
    """
    try:
        pa.array(list(values)).cast(kind)
    except (pa.ArrowException, OverflowError) as error:
        raise DataError(
            f"the column {name!r} cannot hold a new label ({error}): give the column a type that can, such as floats"
        ) from error


def as_column(values: np.ndarray) -> pa.Array:
    """Numbers as a column.

    Args:
        values: Shape (n,) or (n, K).

    Returns:
        Float32; fixed-size lists of K values.
    """
    flat = pa.array(values.reshape(-1), pa.float32())
    return flat if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def as_array(column: Any) -> np.ndarray:
    """A column as an array.

    Args:
        column: One value or list of values a row, an array of pyarrow.

    Returns:
        Shape (n,); (n, K) for fixed-size lists of K values.
    """
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_fixed_size_list(column.type):
        return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), column.type.list_size)
    return column.to_numpy(zero_copy_only=False)
