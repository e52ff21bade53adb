"""Arrays that lie in files."""

from __future__ import annotations

import contextlib
import mmap
from typing import Any

import numpy as np


def give_back_pages(array: Any) -> None:
    """Lets the system take back the memory of an array that is mapped from a file and only read.

    What was read of a mapped file counts as memory of the process until then. The values stay in the file.

    Args:
        array: Any array; only a ``numpy.memmap`` that cannot be written is touched.
    """
    if isinstance(array, np.memmap) and array.mode == "r" and hasattr(mmap, "MADV_DONTNEED"):
        with contextlib.suppress(OSError, ValueError):
            array._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]  # numpy keeps it private
