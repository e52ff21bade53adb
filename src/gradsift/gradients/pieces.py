"""Entries of per-sample gradients a piece at a time, so that they are read while they lie in the processor's cache."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

Pieces = Iterator[tuple[slice, Tensor]]
"""Parts of a batch: which samples, and some entries of their gradients, shape (m, ...), in any order and free to be
overwritten."""


def cut(like: Tensor, entries: int, rows: int) -> tuple[int, int]:
    """How large pieces are: on a CPU every thread works on samples of its own, half a MiB at a time.

    So what a thread has written it reads again itself. On a GPU pieces are larger, as a launch costs more than memory.

    Args:
        like: A tensor whose device to use.
        entries: Entries of one sample's gradient.
        rows: Rows of one sample's gradient.

    Returns:
        Samples of a piece, and rows of each of them.
    """
    threads, size = (torch.get_num_threads(), 2**17) if like.device.type == "cpu" else (1, 2**25)
    blocks = -(-entries // size)
    return threads * max(1, size // max(1, entries)), max(1, -(-rows // max(1, blocks)))


def outer_products(left: Tensor, right: Tensor) -> Pieces:
    """Pieces of ``sum_t left_t right_t^T``.

    Args:
        left: Shape (n, G, T, p).
        right: Shape (n, G, T, q).

    Yields:
        Samples and entries.
    """
    groups, p, q = left.shape[1], left.shape[3], right.shape[3]
    many, rows = cut(left, groups * p * q, p)
    for start in range(0, len(left), many):
        part = slice(start, start + many)
        for row in range(0, p, rows):
            yield part, torch.matmul(left[part, :, :, row : row + rows].transpose(2, 3), right[part])


def sum_norms(pieces: Pieces, like: Tensor, *, l1: bool, l2: bool) -> tuple[Tensor, Tensor]:
    """Norms of gradients that come in pieces.

    Args:
        pieces: All entries of every sample, each once.
        like: A tensor with one row a sample, for device and dtype.
        l1: Whether absolute values are added up; zeros otherwise.
        l2: Whether squares are.

    Returns:
        Sums of absolute values and of squares, shape (n,) each.
    """
    by_start: dict[int, Tensor] = {}
    for part, entries in pieces:
        axes = tuple(range(1, entries.ndim))
        sums = like.new_zeros(2, len(entries))
        if l2:
            torch.linalg.vector_norm(entries, dim=axes, out=sums[1]).square_()
        if l1:
            torch.sum(entries.abs_(), dim=axes, out=sums[0])
        start = part.start or 0
        by_start[start] = by_start[start].add_(sums) if start in by_start else sums
    absolute, squares = torch.cat([by_start[start] for start in sorted(by_start)], dim=1)
    return absolute, squares
