"""Data frames of pandas as columns of numbers, told by what they offer: pandas is never imported here."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from gradsift.data.batch import LABEL_KEYS, PREFIX
from gradsift.errors import DataError

logger = logging.getLogger(__name__)

NAMED = 20
"""So many columns are named in a message."""


def is_frame(value: object) -> bool:
    """Whether something is a data frame of pandas.

    Args:
        value: Anything.

    Returns:
        True where it has columns and is read by position with ``iloc``.
    """
    return hasattr(value, "iloc") and hasattr(value, "columns") and hasattr(value, "dtypes")


def is_series(value: object) -> bool:
    """Whether something is a series of pandas, one column.

    Args:
        value: Anything.

    Returns:
        True where it is read by position with ``iloc`` and has no columns.
    """
    return hasattr(value, "iloc") and hasattr(value, "to_frame") and not hasattr(value, "columns")


def refuse_polars(value: object) -> None:
    """Refuses frames and series of polars, which have no positions that survive.

    Args:
        value: Anything.

    Raises:
        DataError: It is of polars.
    """
    if type(value).__module__.partition(".")[0] == "polars":
        raise DataError(
            f"a {type(value).__name__} of polars is not read: pass data.to_pandas(), or arrays, such as "
            "(data.drop('label').to_numpy(), data['label'].to_numpy())"
        )


def split_label(frame: Any) -> tuple[Any, Any]:
    """Splits a data frame into inputs and labels.

    Args:
        frame: The frame.

    Returns:
        The other columns but those that gradsift adds, and the column of labels.

    Raises:
        DataError: Not exactly one column has the name of labels.
    """
    names = list(frame.columns)
    label_columns = [name for name in names if str(name).lower() in LABEL_KEYS]
    if len(label_columns) != 1:
        raise DataError(
            f"the data frame has the columns {_listed(names)}, and {len(label_columns) or 'none'} of them "
            f"named like labels ({', '.join(LABEL_KEYS)}): rename one to label, or pass (frame of features, labels)"
        )
    added = [name for name in names if str(name).startswith(PREFIX)]
    return frame.drop(columns=[*label_columns, *added]), frame[label_columns[0]]


def features_of_frame(frame: Any) -> np.ndarray:
    """The columns of numbers side by side; others are left out with a warning.

    Args:
        frame: The frame, n rows.

    Returns:
        Float32 of shape (n, numeric and bool columns).

    Raises:
        DataError: No column holds numbers, names stand twice, or values are missing.
    """
    names = [str(name) for name in frame.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"the data frame has several columns named {_listed(twice)}: give each a name of its own")
    columns = [frame.iloc[:, place] for place in range(len(names))]
    numeric = [place for place, column in enumerate(columns) if getattr(column.dtype, "kind", "O") in "biuf"]
    left_out = [f"{name} ({columns[place].dtype})" for place, name in enumerate(names) if place not in numeric]
    if not numeric:
        raise DataError(
            f"the data frame has no numeric column, it has {_listed(left_out)}: turn them into numbers, such as with "
            "pandas.get_dummies(data)"
        )
    if left_out:
        logger.warning(
            "these columns of the data frame hold no numbers and are no features: %s. Write them as numbers to use them, "
            "such as with pandas.get_dummies(data)",
            _listed(left_out),
        )
    features = np.empty((len(frame), len(numeric)), dtype=np.float32)
    for place, source in enumerate(numeric):
        missing = np.flatnonzero(np.asarray(columns[source].isna()))
        if len(missing):
            raise DataError(
                f"the data frame has missing values in the column {names[source]!r} at positions "
                f"{', '.join(map(str, missing[:10]))}{', ...' if len(missing) > 10 else ''}: fill them (fillna), remove "
                "the rows, or leave the column out"
            )
        features[:, place] = columns[source].to_numpy(dtype=np.float32)
    return features


def labels_of_series(series: Any) -> np.ndarray | tuple[np.ndarray, list[str]]:
    """Labels of a series; categories that are words have their numbers and names already.

    Args:
        series: The series, n values.

    Returns:
        Shape (n,), and for categories of words the class numbers with the names.

    Raises:
        DataError: Labels are missing.
    """
    missing = np.flatnonzero(np.asarray(series.isna()))
    if len(missing):
        raise DataError(
            f"{len(missing)} labels are missing, at positions {', '.join(map(str, missing[:10]))}: remove these samples"
        )
    categories = getattr(series.dtype, "categories", None)
    if categories is not None and all(isinstance(category, str) for category in categories):
        return series.cat.codes.to_numpy().astype(np.int64), [str(category) for category in categories]
    return np.asarray(series.to_numpy())


def _listed(names: list[Any]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(map(str, names[:NAMED])) + more
