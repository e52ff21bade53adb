"""The largest numbers of each row of a matrix, by a lower bound that leaves few to be put in order."""

from __future__ import annotations

import numpy as np
import torch

BLOCK = 16
"""Columns of which the maximum is taken first; they stand apart, so that whole rows are compared at once."""
MOST_COLUMNS = 2**31 - 1


def largest(rows: torch.Tensor, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest numbers of each row, as ``torch.topk`` finds them; of equal ones those that come first.

    Columns are cut into some more than ``2 count`` blocks. As many blocks as numbers are wanted have a maximum that is no
    less than the ``count``-th largest of these maxima, so no number below it is among the largest. What is left are little
    more than ``count`` numbers a row, so that a row is read three times, and put in order hardly at all.

    Args:
        rows: Shape (m, r), float32, on the CPU, contiguous.
        count: How many, at most r.

    Returns:
        The numbers, float32, in descending order, and their columns, int32, each of shape (m, count).
    """
    (size, width), numbers = rows.shape, rows.numpy()
    across = width // BLOCK
    together = across // (2 * count)
    if not together or not size:
        return _in_order(_keys(numbers, np.arange(width)), count)
    maxima = rows.as_strided((size, BLOCK, across), (width, across, 1)).amax(dim=1)
    maxima = maxima[:, : across // together * together].view(size, together, -1).amax(dim=1)
    bound = maxima.topk(count, dim=1, sorted=False).values.amin(dim=1, keepdim=True)
    left = np.flatnonzero(numbers >= bound.numpy())
    row = left // width
    starts = np.searchsorted(row, np.arange(size + 1))
    counts = np.diff(starts)
    if counts.min() < count:  # some are no numbers
        return _in_order(_keys(numbers, np.arange(width)), count)
    keys = np.full((size, counts.max()), np.iinfo(np.int64).min)
    keys[row, np.arange(len(left)) - starts[row]] = _keys(numbers.reshape(-1)[left], left - row * width)
    return _in_order(keys, count)


def _keys(numbers: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Integers that are in the order of the numbers, and of equal numbers against the order of their columns."""
    return (_ordered(numbers.view(np.int32)).astype(np.int64) << 32) | (MOST_COLUMNS - columns)


def _in_order(keys: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and columns of the largest keys of each row."""
    most = torch.from_numpy(keys).topk(count, dim=1).values.numpy()
    return _ordered((most >> 32).astype(np.int32)).view(np.float32), (MOST_COLUMNS - (most & 0xFFFFFFFF)).astype(
        np.int32
    )


def _ordered(bits: np.ndarray) -> np.ndarray:
    """Bits of floats as integers in the same order, and back again: those of negative ones are turned around."""
    ordered: np.ndarray = bits ^ ((bits >> 31) & np.int32(MOST_COLUMNS))
    return ordered
