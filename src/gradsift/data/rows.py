"""Whether a row of a batch shows a sample, however it was padded or cast."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradsift.data.batch import LABEL_KEYS

COMPARED = 1024
"""Numbers of a row that are compared, evenly spaced, where it holds more."""

Path = tuple[Any, ...]
"""Keys and places that lead to a tensor of a batch."""


class Missing:
    """Stands for a part that a sample does not have."""


def columns(tree: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The columns of a batch: its tensors, and lists of words or numbers.

    Args:
        tree: The batch.
        path: Where it stands.

    Yields:
        Path and column.
    """
    if isinstance(tree, np.ndarray):
        yield from columns(tree.tolist() if tree.dtype.kind not in "biufc" else torch.from_numpy(tree), path)
    elif isinstance(tree, Tensor):
        if tree.ndim:
            yield path, tree
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from columns(value, (*path, key))
    elif isinstance(tree, list) and tree and all(isinstance(value, str | int | float) for value in tree):
        yield path, tree
    elif isinstance(tree, tuple | list):
        for place, value in enumerate(tree):
            yield from columns(value, (*path, place))


def part(sample: Any, path: Path) -> Any:
    """The part of a sample that stands where a column of the batch stands.

    Args:
        sample: The sample.
        path: Path of the column.

    Returns:
        The part; :class:`Missing` where there is none. A label is found under any of its usual names.
    """
    for key in path:
        if isinstance(sample, Mapping):
            names = [key] if key in sample or key not in LABEL_KEYS else [k for k in LABEL_KEYS if k in sample]
            if not names or names[0] not in sample:
                return Missing
            sample = sample[names[0]]
        elif isinstance(sample, tuple | list) and isinstance(key, int) and key < len(sample):
            sample = sample[key]
        else:
            return Missing
    return sample


def shown(column: Any, parts: Sequence[Any]) -> np.ndarray:
    """Which rows of a column show the part that is paired with them.

    Args:
        column: A column of the batch.
        parts: One part of a sample for each row.

    Returns:
        Boolean, shape (n,); false where the two cannot be compared.
    """
    if isinstance(column, Tensor) and column.ndim == 1:
        numbers = [_number(value) for value in parts]
        if not any(value is None for value in numbers):
            return np.asarray(torch.as_tensor(numbers).to(column.dtype) == column.cpu())
    if isinstance(column, Tensor) and column.ndim == 2 and all(type(value) is list for value in parts):
        column = column.tolist()
    return np.array([_shows(row, value) for row, value in zip(column, parts, strict=True)])


def _number(value: Any) -> Any:
    if isinstance(value, Tensor | np.ndarray | np.generic) and value.ndim == 0:
        value = value.item()
    return value if isinstance(value, int | float) else None


def _shows(row: Any, own: Any) -> bool:
    if type(row) is list and type(own) is list:
        return _at_start_or_end(row, own)
    if isinstance(row, str) or isinstance(own, str):
        return isinstance(row, str) and isinstance(own, str) and row == own
    if isinstance(own, Mapping) or own is Missing or own is None:
        return False
    try:
        row, own = torch.as_tensor(row), torch.as_tensor(own)
    except (RuntimeError, TypeError, ValueError):
        return False
    row, own = row.detach().cpu(), own.detach().cpu()
    if row.ndim != own.ndim:
        return False
    own = own.to(row.dtype) if own.dtype != row.dtype else own
    return _equal(row, own) if row.shape == own.shape else _padded(row, own)


def _equal(row: Tensor, own: Tensor) -> bool:
    step = max(1, row.numel() // COMPARED)
    return torch.equal(row.reshape(-1)[::step], own.reshape(-1)[::step])


def _at_start_or_end(row: list[Any], own: list[Any]) -> bool:
    """Whether one list is the other, cut, or filled up with one value on either side."""
    length = min(len(row), len(own))
    if not length or len(row) == length:
        return row == own[:length] and length > 0
    return (row[:length] == own and len(set(row[length:])) == 1) or (
        row[-length:] == own and len(set(row[:-length])) == 1
    )


def _padded(row: Tensor, own: Tensor) -> bool:
    """Whether a tensor stands at the beginning or at the end of another one that is cut, or filled up with one value."""
    common = [min(a, b) for a, b in zip(row.shape, own.shape, strict=True)]
    if not all(common):
        return False
    first, last = tuple(slice(length) for length in common), tuple(slice(-length, None) for length in common)
    return (_equal(row[first], own[first]) and _filled(row, common, start=True)) or (
        _equal(row[last], own[last]) and _filled(row, common, start=False)
    )


def _filled(row: Tensor, common: list[int], *, start: bool) -> bool:
    """Whether what lies beyond the common block is a single value; not asked where it was filled up along several axes."""
    longer = [axis for axis, length in enumerate(common) if row.shape[axis] > length]
    if len(longer) != 1:
        return True
    axis, length = longer[0], common[longer[0]]
    rest = row.narrow(axis, length if start else 0, row.shape[axis] - length)
    return bool((rest == rest.reshape(-1)[0]).all())
