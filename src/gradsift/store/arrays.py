"""Arrays that lie on disk in shards and are read through memory maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from gradsift.errors import RunDirectoryError
from gradsift.locations import Location, local_copy
from gradsift.scratch import empty


class ShardedArray:
    """One statistic of all samples, row = position, spread over ``.npy`` files.

    Files are mapped one at a time and released again, so the memory in use does not grow with the number of samples. Of
    files in a store, copies are mapped, each made when it is first read.

    Args:
        paths: The files, in the order of positions.
        lengths: Rows of each file.
        check: Called with each file before it is read; raises where it is damaged.

    Attributes:
        shape: Rows and columns.
        dtype: Type of the numbers.
    """

    def __init__(
        self, paths: Sequence[Location], lengths: Sequence[int], check: Callable[[Location], None] | None = None
    ) -> None:
        self._paths, self._check = list(paths), check
        self._copies: dict[int, Path] = {}
        self._layouts: dict[int, tuple[np.dtype[Any], int, tuple[int, ...]]] = {}
        self._starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        first = self._map(0)
        self.shape: tuple[int, ...] = (int(self._starts[-1]), *first.shape[1:])
        # Words have a type of their own in each shard.
        shards = range(len(self._paths)) if first.dtype.kind in "US" else [0]
        self.dtype = np.result_type(*(self._map(shard).dtype for shard in shards))

    def __len__(self) -> int:
        """Number of rows."""
        return self.shape[0]

    def rows(self, positions: Sequence[int] | np.ndarray) -> np.ndarray:
        """Some rows, in the order asked for.

        Args:
            positions: Which rows.

        Returns:
            Shape (len(positions), ...), in memory.
        """
        return self._gather(np.asarray(positions, dtype=np.int64))

    def entries(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Single numbers of an array of two axes; of the files, only the pages with these numbers are read.

        Args:
            rows: The row of each number.
            columns: The column of each; broadcast against ``rows``.

        Returns:
            The numbers, in the shape that rows and columns broadcast to.
        """
        return self._gather(*np.broadcast_arrays(rows, columns))

    def load(self, dtype: Any = None) -> np.ndarray:
        """The whole array, for columns of one number a sample; in a temporary file where it is large.

        Args:
            dtype: Type of its numbers; as they are stored where left out.

        Returns:
            The array.
        """
        whole = empty(self.shape, self.dtype if dtype is None else dtype)
        for shard, (start, stop) in enumerate(pairwise(self._starts)):
            whole[start:stop] = self._map(shard)
        return whole

    def _gather(self, rows: np.ndarray, *columns: np.ndarray) -> np.ndarray:
        out = np.empty((*rows.shape, *self.shape[1 + len(columns) :]), dtype=self.dtype)
        if not columns and self._is_piece(rows):
            first, last = (int(np.searchsorted(self._starts, row, side="right")) - 1 for row in rows[[0, -1]])
            for shard in range(first, last + 1):
                begin, end = np.clip(self._starts[shard : shard + 2], rows[0], rows[-1] + 1)
                out[begin - rows[0] : end - rows[0]] = self._map(shard)[begin - self._starts[shard] :][: end - begin]
            return out
        shard_of = np.searchsorted(self._starts, rows, side="right") - 1
        for shard in np.unique(shard_of):
            here = shard_of == shard
            out[here] = self._map(int(shard))[(rows[here] - self._starts[shard], *(of[here] for of in columns))]
        return out

    def _is_piece(self, rows: np.ndarray) -> bool:
        """Whether rows follow each other, so that they are copied as they lie in the files."""
        inside = rows.ndim == 1 and len(rows) > 0 and rows[0] >= 0 and rows[-1] < len(self)
        return bool(inside and (np.diff(rows) == 1).all())

    def _map(self, shard: int) -> np.ndarray:
        path = self._paths[shard]
        if self._check is not None:
            self._check(path)
        try:
            mapped = self._open(shard)
        except (OSError, ValueError, EOFError) as error:
            raise RunDirectoryError(
                f"{path} cannot be read ({error}): the run directory is corrupt, audit again"
            ) from error
        expected = int(self._starts[shard + 1] - self._starts[shard])
        if len(mapped) != expected:
            raise RunDirectoryError(f"{path} holds {len(mapped)} rows instead of {expected}: audit again")
        return mapped

    def _open(self, shard: int) -> np.ndarray:
        """A file as an array; its header is read once."""
        if shard in self._layouts:
            dtype, offset, shape = self._layouts[shard]
            return np.memmap(self._local(shard), dtype=dtype, mode="r", offset=offset, shape=shape)
        mapped: np.ndarray = np.load(self._local(shard), mmap_mode="r", allow_pickle=False)
        if isinstance(mapped, np.memmap) and mapped.flags.c_contiguous:
            self._layouts[shard] = mapped.dtype, mapped.offset, mapped.shape
        return mapped

    def _local(self, shard: int) -> Path:
        if shard not in self._copies:
            self._copies[shard] = local_copy(self._paths[shard])
        return self._copies[shard]
