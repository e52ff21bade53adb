"""Rows of a table by position, whatever the size of its file."""

from __future__ import annotations

import io
import os
import tempfile
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from gradsift.writing import writing

IN_MEMORY = 64 * 2**20
"""Features of at most so many bytes are held in memory; more lie in a temporary file."""
CACHED = 2
"""Blocks that are held: reading goes forward, and two threads may read."""


class RowReader(ABC):
    """Reads rows by position."""

    @abstractmethod
    def row(self, position: int) -> dict[str, Any]:
        """One row.

        Args:
            position: Its position.

        Returns:
            Column to value.
        """


class BlockReader(RowReader):
    """Rows that are read by the block, of which the last few are held.

    Args:
        sizes: Number of rows of each block, in order.
    """

    def __init__(self, sizes: list[int]) -> None:
        self._ends = np.cumsum(sizes)
        self._blocks: OrderedDict[int, pa.Table] = OrderedDict()
        self._lock = threading.Lock()

    def row(self, position: int) -> dict[str, Any]:
        """One row."""
        number = int(np.searchsorted(self._ends, position, side="right"))
        with self._lock:
            if number not in self._blocks:
                self._blocks[number] = self._load(number)
            self._blocks.move_to_end(number)
            if len(self._blocks) > CACHED:
                self._blocks.popitem(last=False)
            block = self._blocks[number]
        place = position - (int(self._ends[number - 1]) if number else 0)
        return {name: block[name][place].as_py() for name in block.column_names}

    @abstractmethod
    def _load(self, number: int) -> pa.Table:
        """Reads a block."""


class AsideReader(BlockReader):
    """Rows of a file without positions, written aside once, block by block, into a temporary file.

    Args:
        batches: The rows in order.
    """

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        self._file, self._places = _temporary(), [0]
        sizes = []
        with writing(Path(tempfile.gettempdir()) / "rows"):
            for batch in batches:
                sink = io.BytesIO()
                with pa.ipc.new_stream(sink, batch.schema) as stream:
                    stream.write_batch(batch)
                self._file.write(sink.getbuffer())
                self._places.append(self._places[-1] + sink.tell())
                sizes.append(len(batch))
            self._file.flush()
        super().__init__(sizes)

    def _load(self, number: int) -> pa.Table:
        start, end = self._places[number], self._places[number + 1]
        if hasattr(os, "pread"):  # without a shared place in the file, so that forked processes may read too
            return pa.ipc.open_stream(os.pread(self._file.fileno(), end - start, start)).read_all()
        self._file.seek(start)
        return pa.ipc.open_stream(self._file.read(end - start)).read_all()


def stored(blocks: Iterable[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Puts features together: in memory if they are few, otherwise in a temporary file, mapped into memory to be read.

    The file lies where ``TMPDIR`` says, needs 4 bytes a number, and is gone when the process ends.

    Args:
        blocks: Consecutive features in float32.
        shape: Shape of all of them together, (n, ...).

    Returns:
        Float32 of that shape.

    Raises:
        OutputError: The disk of the temporary folder is full.
    """
    if 4 * int(np.prod(shape)) <= IN_MEMORY:
        held = np.empty(shape, dtype=np.float32)
        start = 0
        for block in blocks:
            held[start : start + len(block)] = block
            start += len(block)
        return held
    file = _temporary()
    with writing(Path(tempfile.gettempdir()) / "features"):
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype=np.float32).data)
        file.flush()
    return np.memmap(file, np.float32, "r", shape=shape)  # type: ignore[call-overload]  # an open file is a file, too


def _temporary() -> IO[bytes]:
    return tempfile.TemporaryFile(prefix="gradsift-")
