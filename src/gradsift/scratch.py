"""Arrays with a number for each sample: in memory where they are small, otherwise in a temporary file.

The file is mapped into memory, so that it is read and written like any array, and the system keeps of it what it has room
for. It lies where ``TMPDIR`` says, and is gone when nothing refers to the array any longer.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from gradsift.writing import writing

IN_MEMORY = 64 * 2**20
"""Most bytes of an array that is held in memory: eight million numbers of eight bytes."""


def empty(shape: int | tuple[int, ...], dtype: Any = np.float64) -> np.ndarray:
    """An array to be filled.

    Args:
        shape: Its shape.
        dtype: Type of its numbers.

    Returns:
        The array; what it holds is not known.

    Raises:
        OutputError: The disk of the temporary folder is full.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size <= IN_MEMORY:
        return np.empty(shape, dtype)
    file = temporary()
    with writing(Path(tempfile.gettempdir()) / "columns"):
        if hasattr(os, "posix_fallocate"):  # a full disk is an error here, and would end the process later
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
    mapped: np.memmap[Any, Any] = np.memmap(file, dtype, "r+", shape=shape)  # type: ignore[call-overload]  # a file, too
    return np.asarray(mapped)


def temporary() -> IO[bytes]:
    """A file that is gone when it is closed."""
    return tempfile.TemporaryFile(prefix="gradsift-")
