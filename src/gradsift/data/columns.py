"""A data set in memory as whole columns: arrays, tensors, sparse matrices, data frames."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradsift.data.arrays import give_back_pages
from gradsift.data.batch import LABEL_KEYS
from gradsift.data.frames import features_of_frame, is_frame, is_series, labels_of_series, refuse_polars, split_label
from gradsift.data.labels import class_labels
from gradsift.errors import DataError


class Columns:
    """A data set whose columns are held whole.

    Args:
        source: A tuple or dict of columns, a pair ``[X, y]``, or a data frame with a column of labels.

    Attributes:
        source: What was given, by which the data set is known.

    Raises:
        DataError: A column is none, or columns have different lengths.
    """

    def __init__(self, source: Any) -> None:
        self.source = source
        columns = _columns_of(source)
        for column in columns:
            _refuse_no_column(column)
        _refuse_other_index(columns)
        lengths = [_length(column) for column in columns]
        if len(set(lengths)) > 1:
            raise DataError(f"the arrays of the data set have different lengths {lengths}: each needs one row a sample")
        self._size = lengths[0]

    def __len__(self) -> int:
        """Number of samples."""
        return self._size

    @cached_property
    def arrays(self) -> tuple[Any, ...] | dict[str, Any]:
        """The columns as batches are taken from them: numbers where they can be, labels as class numbers."""
        columns, (key, labels, _) = self._columns, self._labels
        if isinstance(columns, dict):
            return {name: labels if name == key else _inputs(column) for name, column in columns.items()}
        inputs = tuple(_inputs(column) for column in (columns if key is None else columns[:-1]))
        for column in inputs:
            _refuse_mixed(column)
        return inputs if key is None else (*inputs, labels)

    @property
    def class_names(self) -> list[str] | None:
        """Names of the classes, where labels are words."""
        return self._labels[2]

    @property
    def labels(self) -> Any:
        """Labels as batches hold them, classes as numbers; ``None`` where there are none."""
        return self._labels[1]

    @property
    def inputs_and_labels(self) -> tuple[Any, Any] | None:
        """X and y as they were given; ``None`` where there are other columns."""
        return tuple(self._columns) if not isinstance(self._columns, dict) and len(self._columns) == 2 else None

    @cached_property
    def _columns(self) -> Any:
        """The columns one by one."""
        return split_label(self.source) if is_frame(self.source) else self.source

    @cached_property
    def _labels(self) -> tuple[Any, Any, list[str] | None]:
        """Where labels stand, ``None`` where nowhere; the labels as numbers; names of the classes."""
        columns = self._columns
        key: str | int | None = len(columns) - 1 or None
        if isinstance(columns, dict):
            key = next((key for key in LABEL_KEYS if key in columns), None)
        if key is None:
            return None, None, None
        return key, *_labels(columns[key], f"the column {key!r}" if isinstance(key, str) else "the data set")

    def sample(self, position: int) -> Any:
        """One sample as it was given.

        Args:
            position: Its position.

        Returns:
            A tuple or dict; of a row of a data frame, a dict.
        """
        if is_frame(self.source):
            return _sample_of(self.source, position)
        if isinstance(self.source, dict):
            return {name: _sample_of(column, position) for name, column in self.source.items()}
        return tuple(_sample_of(column, position) for column in self.source)

    def several(self, indices: Sequence[int]) -> list[Any]:
        """Some samples as they were given, read together.

        Args:
            indices: Their positions.

        Returns:
            What :meth:`sample` gives of each.
        """
        columns = [_samples_of(column, list(indices)) for column in _columns_of(self.source)]
        if is_frame(self.source):
            return columns[0]
        rows: Any = zip(*columns, strict=True)
        return (
            [dict(zip(self.source, row, strict=True)) for row in rows] if isinstance(self.source, dict) else list(rows)
        )

    def take(self, indices: list[int]) -> Any:
        """A batch of samples.

        Args:
            indices: Their positions.

        Returns:
            A tuple or dict of tensors.
        """
        arrays = self.arrays
        if isinstance(arrays, dict):
            return {name: _take(column, indices) for name, column in arrays.items()}
        return tuple(_take(column, indices) for column in arrays)

    def keep(self, indices: np.ndarray) -> Any:
        """The same kind of data set with only some samples.

        Args:
            indices: Their positions, in order.

        Returns:
            What was given, with fewer rows; data frames keep their index.
        """
        if is_frame(self.source):
            return self.source.iloc[indices]
        if isinstance(self.source, dict):
            return {name: _select(column, indices) for name, column in self.source.items()}
        return type(self.source)(_select(column, indices) for column in self.source)


def columns_of(source: Any) -> Columns | None:
    """The source as whole columns.

    Args:
        source: A data set.

    Returns:
        Its columns; ``None`` where it is a collection of samples.

    Raises:
        DataError: It is no data set, such as a dict without columns.
    """
    refuse_polars(source)
    if is_series(source) or is_sparse(source):
        raise DataError(f"the data set is a {type(source).__name__} alone: pass inputs and labels, (X, y)")
    if isinstance(source, np.ndarray | Tensor):  # its rows are samples, for tasks without labels
        _refuse_no_column(source)
    if isinstance(source, dict):
        if not source:
            raise DataError("the data set is an empty dict: there is no sample to audit")
        return Columns(source)
    # y may be a list: then they are no two samples
    inputs_and_list = isinstance(source, tuple) and len(source) == 2 and _is_column(source[0])
    only_columns = isinstance(source, tuple) and source and all(_is_column(column) for column in source)
    return Columns(source) if is_frame(source) or inputs_and_list or only_columns or _is_pair(source) else None


def _is_pair(source: Any) -> bool:
    """Whether a list is inputs and labels, ``[X, y]``, and not two samples: equally long, the labels with fewer axes."""
    return (
        isinstance(source, list)
        and len(source) == 2
        and all(_is_column(column) and column.ndim for column in source)
        and _length(source[0]) == _length(source[1])
        and source[1].ndim < source[0].ndim
    )


def is_sparse(value: object) -> bool:
    """Whether something is a sparse matrix of scipy.

    Args:
        value: Anything.

    Returns:
        True where it becomes rows of values, or a dense array.
    """
    return hasattr(value, "tocsr") and hasattr(value, "toarray")


def _is_column(value: object) -> bool:
    refuse_polars(value)
    return isinstance(value, np.ndarray | Tensor) or is_frame(value) or is_series(value) or is_sparse(value)


def _columns_of(source: Any) -> Sequence[Any]:
    return [source] if is_frame(source) else list(source.values()) if isinstance(source, dict) else source


def _length(column: Any) -> int:
    return int(column.shape[0])


def _refuse_no_column(column: Any) -> None:
    """Refuses what is no column of one value or row a sample."""
    if not _is_column(column):
        raise DataError(
            f"a dict or tuple that is a data set must hold arrays or tensors, got {type(column).__name__}; "
            "turn lists into arrays, or pass a list of samples instead"
        )
    if column.ndim == 0:
        raise DataError(f"one of the arrays or tensors is a single value ({column}): each needs one row a sample")
    if isinstance(column, Tensor) and column.layout != torch.strided:
        raise DataError(
            f"a tensor of the data set is sparse ({column.layout}): pass tensor.to_dense(), or a sparse array of scipy, of "
            "which only batches are made dense"
        )
    if not isinstance(column, np.ndarray):
        return
    if column.dtype.names is not None:
        raise DataError(
            f"an array of the data set is structured, with the fields {', '.join(column.dtype.names)}: pass "
            "numpy.lib.recfunctions.structured_to_unstructured(array[fields]), and labels as an array of their own"
        )
    if np.ma.is_masked(column):
        rows = np.flatnonzero(np.ma.getmaskarray(column).reshape(len(column), -1).any(axis=1))
        raise DataError(
            f"{len(rows)} samples have masked values, at positions {', '.join(map(str, rows[:10]))}: fill them "
            "(array.filled(value)) or remove the samples"
        )


def _inputs(column: Any) -> Any:
    """A column as batches are taken from it."""
    if is_frame(column):
        return features_of_frame(column)
    if is_series(column):
        column = column.to_numpy()
    if is_sparse(column):
        return column.tocsr()
    if isinstance(column, np.ndarray) and column.dtype == object:
        return _as_numbers(column)
    return column


def _as_numbers(column: np.ndarray) -> np.ndarray:
    """An array of objects as numbers where all of them are."""
    try:
        numbers = np.array(column.tolist())
    except (ValueError, TypeError, OverflowError):  # of unequal lengths
        return column
    return numbers if numbers.dtype.kind in "biuf" and numbers.shape == column.shape else column


def _refuse_mixed(column: Any) -> None:
    """Refuses inputs that are neither numbers nor words, unless a collate function of the user's reads them."""
    if isinstance(column, np.ndarray) and column.dtype == object and column.ndim > 1:
        types = sorted({type(value).__name__ for value in column.reshape(-1).tolist()})
        raise DataError(
            f"an array of the data set holds objects of the types {', '.join(types)}: pass an array of numbers "
            "(array.astype(float)), and words as numbers"
        )


def _labels(column: Any, where: str) -> tuple[Any, list[str] | None]:
    """Labels as batches are taken from them, and names of the classes where they are words."""
    if is_frame(column) and column.shape[1] == 1:
        column = column.iloc[:, 0]
    if is_series(column):
        column = labels_of_series(column)
        if isinstance(column, tuple):
            return column
    if isinstance(column, np.ndarray):
        return class_labels(_as_numbers(column) if column.dtype == object else column, where)
    return _inputs(column), None


def _sample_of(column: Any, position: int) -> Any:
    if is_frame(column):
        return column.iloc[[position]].to_dict("records")[0]
    if is_series(column):
        return column.iloc[position]
    if is_sparse(column):
        return column.tocsr()[[position]].toarray()[0]
    return column[position]


def _samples_of(column: Any, positions: list[int]) -> list[Any]:
    """What :func:`_sample_of` gives of each position."""
    if is_frame(column):
        return list(column.iloc[positions].to_dict("records"))
    if is_series(column):
        return [column.iloc[position] for position in positions]
    values = column.tocsr()[positions].toarray() if is_sparse(column) else column[positions]
    give_back_pages(column)
    return list(values.unbind(0)) if isinstance(values, Tensor) else list(values)


def _take(column: Any, indices: list[int]) -> Any:
    values = column[indices].toarray() if is_sparse(column) else column[indices]
    give_back_pages(column)
    if isinstance(values, np.ndarray) and values.dtype.kind not in "biufc":
        return values.tolist()  # ids and other words, as default_collate has them
    if isinstance(values, Tensor):
        return values
    dtype = values.dtype.newbyteorder("=")  # torch takes the machine's own order of bytes alone
    if dtype.kind == "u" and dtype.itemsize > 1:  # and computes with unsigned bytes alone
        dtype = np.dtype(np.int64)
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64 if dtype == np.longdouble else dtype))


def _select(column: Any, indices: np.ndarray) -> Any:
    if isinstance(column, Tensor):
        return column[torch.from_numpy(indices)]
    if is_frame(column) or is_series(column):
        return column.iloc[indices]
    return column.tocsr()[indices].asformat(column.format) if is_sparse(column) else column[indices]


def _refuse_other_index(columns: Sequence[Any]) -> None:
    """Refuses a frame and a series of pandas whose rows are not the same, which would be paired by number."""
    indexed = [column for column in columns if is_frame(column) or is_series(column)]
    if any(len(column) == len(indexed[0]) and not column.index.equals(indexed[0].index) for column in indexed[1:]):
        raise DataError(
            "the index of the labels differs from that of the inputs, so rows would be paired with other samples' labels: "
            "align them, such as with y.loc[X.index], or drop both with reset_index(drop=True)"
        )
