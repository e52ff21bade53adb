"""Memory that a batch has freed stays with the process, so that the next batch need not fetch it anew from the system."""

from __future__ import annotations

import ctypes
import os

from gradsift.gradients.batching import CPU_BUDGET

MOST_KEPT = 2 * CPU_BUDGET
"""Most bytes of freed memory that stay: the activations of a batch, and as much again for its inputs and gradients."""
LARGEST_BLOCK = 32 * 2**20
"""Blocks of more bytes are always given back: the most that glibc takes for this limit."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of glibc's settings, from ``malloc.h``."""


def keep_freed_memory(most: int = MOST_KEPT) -> None:
    """Has the C library keep what is freed, up to some bytes.

    By itself glibc gives memory back by the size of the blocks that were freed before. A process that has only just begun,
    such as a Ray actor, has freed small ones. So it gave back all activations after each batch, and faulting their pages
    in anew took 40 % of its time. Does nothing with other C libraries.

    Args:
        most: Most bytes that are kept.

    Example:
        >>> keep_freed_memory()
    """
    mallopt = None if os.name == "nt" else getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGEST_BLOCK)
        mallopt(M_TRIM_THRESHOLD, most)
