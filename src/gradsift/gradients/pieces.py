"""Entries of per-sample gradients a piece at a time, so that they are read while they lie in the processor's cache."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

Pieces = Iterator[tuple[slice, Tensor]]
"""Parts of a batch: which samples, and some entries of their gradients, shape (m, entries), in any order; free to be
overwritten."""


def piece_size(like: Tensor) -> int:
    """Numbers in a piece: 1 MiB of float32 on a CPU; more on a GPU, where a launch costs more than memory.

    Args:
        like: A tensor whose device to use.

    Returns:
        Numbers.
    """
    return 2**18 if like.device.type == "cpu" else 2**25


def outer_products(left: Tensor, right: Tensor) -> Pieces:
    """Pieces of ``sum_t left_t right_t^T``: several samples, or some rows of one sample's matrix.

    Args:
        left: Shape (n, G, T, p).
        right: Shape (n, G, T, q).

    Yields:
        Samples and entries.
    """
    groups, p, q = left.shape[1], left.shape[3], right.shape[3]
    size = piece_size(left)
    many, rows = max(1, size // max(1, groups * p * q)), p
    if groups * p * q > size:
        rows = max(1, size // (groups * q))
    for start in range(0, len(left), many):
        part = slice(start, start + many)
        for row in range(0, p, rows):
            yield part, torch.matmul(left[part, :, :, row : row + rows].transpose(2, 3), right[part]).flatten(1)


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
    sums = like.new_zeros(2, len(like))
    for part, entries in pieces:
        if l2:
            sums[1, part] += torch.linalg.vector_norm(entries, dim=1).square_()
        if l1:
            sums[0, part] += entries.abs_().sum(dim=1)
    return sums[0], sums[1]
