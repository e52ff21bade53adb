"""Writes what an audit has found beside the rows of a data set."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from gradsift.data.added_columns import with_columns
from gradsift.data.batch import LABEL_KEYS, PREFIX
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
        A new one of the same kind, in the same order; columns of an earlier audit are replaced. The suggested label is a
        word where labels are words, and otherwise the number of a class.

    Raises:
        DataError: It is not the one that was audited, or has no columns.
    """
    if train_set is None:
        raise DataError("annotate needs the data set that was audited: pass it as annotate(train_set)")
    samples = audit.samples_of(train_set)
    rows = rows_of(train_set)
    columns = {PREFIX + name: audit.table[name] for name in ANNOTATIONS}
    if audit.class_names is not None and not _are_numbers(samples.raw.sample(0), samples.label_column):
        columns[PREFIX + "suggested_label"] = pa.array(audit.class_names).take(audit.table["suggested_label"])
    if is_splits(rows):
        return with_split(rows, with_columns(one_split(rows), columns))
    return with_columns(rows, columns)


def _are_numbers(row: Any, label: str | None) -> bool:
    """Whether a row has a column of labels, and numbers in it."""
    names = [name for name in row if name == label or str(name).lower() in LABEL_KEYS] if isinstance(row, dict) else []
    return bool(names) and not isinstance(row[names[0]], str)
