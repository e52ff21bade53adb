"""Writes what an audit has found beside the rows of a data set."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from gradsift.data.frames import is_frame
from gradsift.data.samples import is_splits, one_split, rows_of
from gradsift.errors import DataError
from gradsift.table import Audit

PREFIX = "gradsift_"
ANNOTATIONS = ("score", "rank", "percentile", "flagged", "loss", "suggested_label", "reason_kind", "reason")
"""Columns of the table that are added, under names that begin with :data:`PREFIX`."""


def annotate(train_set: Any, audit: Audit) -> Any:
    """The data set with columns for score, rank, percentile, flag, loss, suggested label, kind of reason and reason.

    Args:
        train_set: The data set that was audited: a ``datasets.Dataset``, a ``DatasetDict`` (its audited split is
            annotated), a ``pyarrow.Table``, a data frame, a dict of arrays, a list of dicts,
            or an encoded set, whose rows are annotated.
        audit: The audit.

    Returns:
        A new one of the same kind, in the same order; columns of an earlier audit are replaced.

    Raises:
        DataError: It is not the one that was audited, or has no columns.
    """
    if train_set is None:
        raise DataError("annotate needs the data set that was audited: pass it as annotate(train_set)")
    audit.samples_of(train_set)
    rows = rows_of(train_set)
    columns = {PREFIX + name: audit.table[name] for name in ANNOTATIONS}
    if is_splits(rows):
        split = one_split(rows)
        return type(rows)({name: _add(one, columns) if one is split else one for name, one in rows.items()})
    return _add(rows, columns)


def _add(rows: Any, columns: dict[str, pa.ChunkedArray]) -> Any:
    if isinstance(rows, pa.Table):
        rows = rows.drop_columns([name for name in columns if name in rows.column_names])
        for name, column in columns.items():
            rows = rows.append_column(name, column)
        return rows
    if isinstance(rows, dict):
        return rows | {name: column.to_numpy(zero_copy_only=False) for name, column in columns.items()}
    if isinstance(rows, list) and rows and isinstance(rows[0], dict):
        values = {name: column.to_pylist() for name, column in columns.items()}
        return [row | {name: column[place] for name, column in values.items()} for place, row in enumerate(rows)]
    if is_frame(rows):
        return rows.assign(**{name: column.to_pandas().to_numpy() for name, column in columns.items()})
    if not callable(getattr(rows, "add_column", None)):
        raise DataError(
            f"a {type(rows).__name__} has no columns to add to: use audit.table, whose rows are in the same order"
        )
    rows = rows.remove_columns([name for name in columns if name in rows.column_names])
    for name, column in columns.items():
        rows = rows.add_column(name, column.to_pylist())
    return rows
