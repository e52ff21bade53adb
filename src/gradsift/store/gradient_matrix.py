"""The matrix of all per-sample gradients, n x p, without forming it.

Detectors read it through three questions: its norms, some rows, all rows in pieces.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gradsift.errors import DataError, SettingError
from gradsift.store.arrays import ShardedArray

CHUNK_BYTES = 8 * 2**20
"""Most bytes of gradient rows that are held at a time."""

Order = int
"""1 for L1 norms, 2 for L2 norms."""


class GradientMatrix(ABC):
    """Per-sample gradients, row = position.

    Attributes:
        shape: (n, p).
    """

    shape: tuple[int, int]

    def __len__(self) -> int:
        """Number of samples n."""
        return self.shape[0]

    @abstractmethod
    def rows(self, positions: Sequence[int] | np.ndarray) -> np.ndarray:
        """Some rows.

        Args:
            positions: Which ones.

        Returns:
            Shape (len(positions), p).
        """

    @abstractmethod
    def norms(self, order: Order) -> np.ndarray:
        """Norm of every row.

        Args:
            order: 1 or 2.

        Returns:
            Shape (n,), float64.
        """

    def chunks(self) -> Iterator[tuple[int, np.ndarray]]:
        """All rows in order, in pieces of at most 8 MiB.

        Yields:
            Position of the first row and the rows.
        """
        size = max(1, CHUNK_BYTES // max(1, 4 * self.shape[1]))
        for start in range(0, len(self), size):
            yield start, self.rows(np.arange(start, min(start + size, len(self))))

    def subset(self, positions: np.ndarray) -> GradientMatrix:
        """The rows at some positions as a matrix of their own, without copying them.

        Args:
            positions: Which rows.

        Returns:
            A matrix of len(positions) rows.
        """
        return _Subset(self, positions)


class _Subset(GradientMatrix):
    def __init__(self, whole: GradientMatrix, positions: np.ndarray) -> None:
        self._whole, self._positions = whole, np.asarray(positions, dtype=np.int64)
        self.shape = (len(self._positions), whole.shape[1])

    def rows(self, positions: Sequence[int] | np.ndarray) -> np.ndarray:
        """Some rows of the part."""
        return self._whole.rows(self._positions[np.asarray(positions, dtype=np.int64)])

    def norms(self, order: Order) -> np.ndarray:
        """Norms of the part."""
        return self._whole.norms(order)[self._positions]


class ArrayMatrix(GradientMatrix):
    """Gradients held as an array, in memory, memory-mapped or in shards.

    Args:
        array: Shape (n, p).
    """

    def __init__(self, array: np.ndarray | ShardedArray) -> None:
        self._array = array
        self.shape = (array.shape[0], array.shape[1])

    def rows(self, positions: Sequence[int] | np.ndarray) -> np.ndarray:
        """Some rows, shape (len(positions), p)."""
        if isinstance(self._array, ShardedArray):
            return self._array.rows(positions)
        return np.asarray(self._array[np.asarray(positions, dtype=np.int64)])

    def norms(self, order: Order) -> np.ndarray:
        """Norm of every row, shape (n,)."""
        return np.concatenate([np.linalg.norm(rows.astype(np.float64), ord=order, axis=1) for _, rows in self.chunks()])


class FactoredMatrix(GradientMatrix):
    """Last-layer gradients kept as their two factors, g = vec(residual features^T).

    Args:
        residual: Shape (n, K).
        features: Shape (n, D).
    """

    def __init__(self, residual: np.ndarray | ShardedArray, features: np.ndarray | ShardedArray) -> None:
        self._residual, self._features = ArrayMatrix(residual), ArrayMatrix(features)
        self.shape = (residual.shape[0], residual.shape[1] * features.shape[1])

    def rows(self, positions: Sequence[int] | np.ndarray) -> np.ndarray:
        """Some rows, the outer products of the factors, shape (len(positions), K * D)."""
        residual, features = self._residual.rows(positions), self._features.rows(positions)
        return (residual[:, :, None] * features[:, None, :]).reshape(len(residual), -1)

    def norms(self, order: Order) -> np.ndarray:
        """Norm of every row, the product of the factors' norms, shape (n,)."""
        return self._residual.norms(order) * self._features.norms(order)


class StoredMatrix(GradientMatrix):
    """What a run has stored: exact norms, and rows that may be projections.

    Args:
        rows: Factors or projections, or ``None`` where only norms were kept.
        norms: Exact norms by order.
        size: Number of samples.
    """

    def __init__(self, rows: GradientMatrix | None, norms: Mapping[Order, ShardedArray], size: int) -> None:
        self._rows, self._norms = rows, dict(norms)
        self.shape = (size, rows.shape[1] if rows is not None else 0)

    def rows(self, positions: Sequence[int] | np.ndarray) -> np.ndarray:
        """Some rows.

        Args:
            positions: Which ones.

        Returns:
            Shape (len(positions), p).

        Raises:
            SettingError: Only norms were stored.
        """
        if self._rows is None:
            raise SettingError("this run stored gradient norms alone: audit again with a detector that reads gradients")
        return self._rows.rows(positions)

    def norms(self, order: Order) -> np.ndarray:
        """Exact norms.

        Args:
            order: 1 or 2.

        Returns:
            Shape (n,).

        Raises:
            SettingError: This norm was not stored.
        """
        if order in self._norms:
            return self._norms[order].load().astype(np.float64)
        raise SettingError(f"this run stored no L{order} norms: audit again with the detector l{order} among detectors")


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
    matrix = ArrayMatrix(array)
    for start, rows in matrix.chunks():
        broken = start + np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if len(broken):
            raise DataError(f"gradients are NaN or infinite in rows {broken[:10].tolist()}: leave these samples out")
    return matrix
