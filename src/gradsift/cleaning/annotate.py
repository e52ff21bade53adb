"""Writes what an audit has found beside the rows of a data set."""

from __future__ import annotations

from typing import Any

from gradsift.data.added_columns import with_columns
from gradsift.data.batch import PREFIX
from gradsift.data.samples import is_splits, one_split, rows_of, with_split
from gradsift.errors import DataError
from gradsift.table import AuditedRun

ANNOTATIONS = (
    "score", "rank", "percentile", "flagged", "loss", "suggested_label", "wrong_probability", "reason_kind", "reason",
)  # fmt: skip
"""Columns of the table that are added, under names that begin with :data:`PREFIX`."""


def annotate(train_set: Any, audit: AuditedRun) -> Any:
    """The data set with columns for score, rank, percentile, flag, loss, suggested label, P(wrong) and reason.

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
        return with_split(rows, with_columns(one_split(rows), columns))
    return with_columns(rows, columns)
