"""The matrix of all per-sample gradients, n x p, without forming it.

Detectors read it through a few questions: its norms, some rows, single numbers, all rows in pieces.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gradsift.errors import DataError, SettingError
from gradsift.scratch import empty
from gradsift.store.arrays import ShardedArray

CHUNK_BYTES = 8 * 2**20
"""Most bytes of gradient rows, or of what they are kept in, that are held at a time."""

Order = int
"""1 for L1 norms, 2 for L2 norms."""

Positions = Sequence[int] | np.ndarray
"""Rows by their number."""


class GradientMatrix(ABC):
    """Per-sample gradients, row = position.

    Attributes:
        shape: (n, p).
        width: How many numbers a row is kept in: p, or fewer where it is kept as factors.
        in_memory: Whether all of it is in memory, row by row.
    """

    shape: tuple[int, int]
    width: int
    in_memory: bool

    def __len__(self) -> int:
        """Number of samples n."""
        return self.shape[0]

    @abstractmethod
    def rows(self, positions: Positions) -> np.ndarray:
        """Some rows.

        Args:
            positions: Which ones.

        Returns:
            Shape (len(positions), p).
        """

    @abstractmethod
    def entries(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Single numbers, without forming the rows that they stand in.

        Args:
            rows: The row of each number, in [0, n), not checked.
            columns: The column of each, in [0, p), not checked; broadcast against ``rows``.

        Returns:
            The numbers, in the shape that rows and columns broadcast to.
        """

    @abstractmethod
    def norms(self, order: Order, positions: Positions | None = None) -> np.ndarray:
        """Norms of rows.

        Args:
            order: 1 or 2.
            positions: Which rows; all without.

        Returns:
            Shape (n,) or (len(positions),), float64.
        """

    def load(self, positions: Positions) -> GradientMatrix:
        """Some rows in memory, kept as they are kept here: factors stay factors, and what is in memory is not copied.

        Args:
            positions: Which ones.

        Returns:
            A matrix of len(positions) rows.
        """
        return self.subset(np.asarray(positions)) if self.in_memory else self._read(positions)

    def chunks(self) -> Iterator[tuple[int, np.ndarray]]:
        """All rows in order, in pieces of at most 8 MiB.

        Yields:
            Position of the first row and the rows.
        """
        for start, stop in _cuts(self.shape):
            yield start, self.rows(np.arange(start, stop))

    def pieces(self) -> Iterator[tuple[int, GradientMatrix]]:
        """All rows in order, in pieces that are kept in at most 8 MiB of memory; what is in memory is a single one.

        Yields:
            Position of the first row and a matrix of the rows, in memory.
        """
        if self.in_memory:
            yield 0, self
            return
        for start, stop in _cuts((len(self), self.width)):
            yield start, self.load(np.arange(start, stop))

    def subset(self, positions: np.ndarray) -> GradientMatrix:
        """The rows at some positions as a matrix of their own, without copying them.

        Args:
            positions: Which rows.

        Returns:
            A matrix of len(positions) rows.
        """
        return _Subset(self, positions)

    @abstractmethod
    def _read(self, positions: Positions) -> GradientMatrix:
        """A copy of some rows in memory."""


class _Subset(GradientMatrix):
    def __init__(self, whole: GradientMatrix, positions: np.ndarray) -> None:
        self._whole, self._positions = whole, np.asarray(positions, dtype=np.int64)
        self.shape, self.width = (len(self._positions), whole.shape[1]), whole.width
        self.in_memory = whole.in_memory

    def rows(self, positions: Positions) -> np.ndarray:
        """Some rows of the part."""
        return self._whole.rows(self._of_whole(positions))

    def entries(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Single numbers of the part."""
        return self._whole.entries(self._of_whole(rows), columns)

    def norms(self, order: Order, positions: Positions | None = None) -> np.ndarray:
        """Norms of the part."""
        return self._whole.norms(order, self._positions if positions is None else self._of_whole(positions))

    def _read(self, positions: Positions) -> GradientMatrix:
        return self._whole.load(self._of_whole(positions))

    def _of_whole(self, positions: Positions) -> np.ndarray:
        return self._positions[np.asarray(positions, dtype=np.int64)]


class ArrayMatrix(GradientMatrix):
    """Gradients held as an array, in memory, memory-mapped or in shards.

    Args:
        array: Shape (n, p).
    """

    def __init__(self, array: np.ndarray | ShardedArray) -> None:
        self._array = array
        self.shape, self.width = (array.shape[0], array.shape[1]), array.shape[1]
        self.in_memory = type(array) is np.ndarray and array.flags.c_contiguous

    def rows(self, positions: Positions) -> np.ndarray:
        """Some rows, shape (len(positions), p)."""
        if isinstance(self._array, ShardedArray):
            return self._array.rows(positions)
        return np.asarray(self._array[np.asarray(positions, dtype=np.int64)])

    def entries(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Single numbers, in the shape that rows and columns broadcast to."""
        if isinstance(self._array, ShardedArray):
            return self._array.entries(rows, columns)
        if self._array.flags.c_contiguous:  # faster than two indices
            return np.asarray(self._array.reshape(-1).take(np.asarray(rows, dtype=np.int64) * self.width + columns))
        return np.asarray(self._array[rows, columns])

    def norms(self, order: Order, positions: Positions | None = None) -> np.ndarray:
        """Norms of rows, shape (n,) or (len(positions),)."""
        part = self if positions is None else self.subset(np.asarray(positions))
        norms = empty(len(part))
        for start, rows in part.chunks():
            norms[start : start + len(rows)] = np.linalg.norm(rows.astype(np.float64), ord=order, axis=1)
        return norms

    def _read(self, positions: Positions) -> ArrayMatrix:
        return ArrayMatrix(np.ascontiguousarray(self.rows(positions)))


class FactoredMatrix(GradientMatrix):
    """Last-layer gradients kept as their two factors, g = vec(residual features^T).

    Args:
        residual: Shape (n, K).
        features: Shape (n, D).
    """

    def __init__(self, residual: np.ndarray | ShardedArray, features: np.ndarray | ShardedArray) -> None:
        self._residual, self._features = ArrayMatrix(residual), ArrayMatrix(features)
        self.shape = (residual.shape[0], residual.shape[1] * features.shape[1])
        self.width = residual.shape[1] + features.shape[1]
        self.in_memory = self._residual.in_memory and self._features.in_memory

    def rows(self, positions: Positions) -> np.ndarray:
        """Some rows, the outer products of the factors, shape (len(positions), K * D)."""
        residual, features = self._residual.rows(positions), self._features.rows(positions)
        return (residual[:, :, None] * features[:, None, :]).reshape(len(residual), -1)

    def entries(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Single numbers, each a product of two: column c is ``residual[c // D] * features[c % D]``."""
        size = self._features.width
        place = np.asarray(columns) // size
        within = columns - place * size  # as c % D, and faster
        return self._residual.entries(rows, place) * self._features.entries(rows, within)

    def norms(self, order: Order, positions: Positions | None = None) -> np.ndarray:
        """Norms of rows, the products of the factors' norms, shape (n,) or (len(positions),)."""
        norms = self._residual.norms(order, positions)
        norms *= self._features.norms(order, positions)
        return norms

    def _read(self, positions: Positions) -> FactoredMatrix:
        return FactoredMatrix(self._residual.rows(positions), self._features.rows(positions))


class StoredMatrix(GradientMatrix):
    """What a run has stored: exact norms, and rows that may be projections.

    Args:
        rows: Factors or projections, or ``None`` where only norms were kept.
        norms: Exact norms by order.
        size: Number of samples.
    """

    def __init__(self, rows: GradientMatrix | None, norms: Mapping[Order, ShardedArray], size: int) -> None:
        self._rows, self._norms = rows, dict(norms)
        self.shape, self.width = (size, rows.shape[1] if rows is not None else 0), rows.width if rows is not None else 0
        self.in_memory = rows is not None and rows.in_memory

    def rows(self, positions: Positions) -> np.ndarray:
        """Some rows.

        Args:
            positions: Which ones.

        Returns:
            Shape (len(positions), p).

        Raises:
            SettingError: Only norms were stored.
        """
        return self._stored().rows(positions)

    def entries(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Single numbers.

        Args:
            rows: The row of each number.
            columns: The column of each.

        Returns:
            The numbers, in the shape that rows and columns broadcast to.

        Raises:
            SettingError: Only norms were stored.
        """
        return self._stored().entries(rows, columns)

    def norms(self, order: Order, positions: Positions | None = None) -> np.ndarray:
        """Exact norms.

        Args:
            order: 1 or 2.
            positions: Which rows; all without.

        Returns:
            Shape (n,) or (len(positions),).

        Raises:
            SettingError: This norm was not stored.
        """
        if order not in self._norms:
            raise SettingError(
                f"this run stored no L{order} norms: audit again with the detector l{order} among detectors"
            )
        norms = self._norms[order]
        return norms.load(np.float64) if positions is None else norms.rows(positions).astype(np.float64)

    def _read(self, positions: Positions) -> GradientMatrix:
        return self._stored().load(positions)

    def _stored(self) -> GradientMatrix:
        if self._rows is None:
            raise SettingError("this run stored gradient norms alone: audit again with a detector that reads gradients")
        return self._rows


def as_gradient_matrix(gradients: Any) -> GradientMatrix:
    """Takes plain arrays for gradient matrices and checks their shape.

    Args:
        gradients: A :class:`GradientMatrix`, or an array of shape (n, p).

    Returns:
        A gradient matrix.

    Raises:
        DataError: The array is not of shape (n, p), is empty, or has rows that are NaN or infinite.
    """
    if isinstance(gradients, GradientMatrix):
        return gradients
    array = gradients if isinstance(gradients, np.ndarray) else np.asarray(gradients)
    if array.ndim != 2 or not array.shape[0] or not array.shape[1]:
        raise DataError(f"gradients must be of shape (n, p) with n, p >= 1, got {array.shape}")
    for start, stop in _cuts(array.shape):
        broken = start + np.flatnonzero(~np.isfinite(array[start:stop]).all(axis=1))
        if len(broken):
            raise DataError(f"gradients are NaN or infinite in rows {broken[:10].tolist()}: leave these samples out")
    return ArrayMatrix(array)


def _cuts(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Where each piece of a matrix begins and ends, so that it takes at most 8 MiB as float32."""
    size = max(1, CHUNK_BYTES // max(1, 4 * shape[1]))
    for start in range(0, shape[0], size):
        yield start, min(start + size, shape[0])
