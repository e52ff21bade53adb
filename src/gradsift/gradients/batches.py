"""One walk over the samples of a data set, batch by batch, which every pass over data takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from gradsift.data.batch import LABEL_KEYS, Batch, rows_not_finite, to_model
from gradsift.errors import DataError, naming_samples
from gradsift.gradients.batching import Batcher, is_out_of_memory
from gradsift.progress import Bar

T = TypeVar("T")

Read = Callable[[np.ndarray], Batch]
"""Takes positions to a batch: :meth:`gradsift.data.Samples.batch`, or what stands in for it."""


def on_batch(
    function: Callable[[np.ndarray, Batch], T],
    read: Read,
    positions: np.ndarray,
    *,
    model: nn.Module | None = None,
    finite: bool = True,
) -> T:
    """Reads a batch and calls a function with it; errors about rows become errors about samples.

    Args:
        function: Called with positions and batch.
        read: Reads the batch.
        positions: Which samples.
        model: Where the batch is moved, to its device and precision; left out, the batch stays as it is read.
        finite: Whether inputs with NaN or infinite numbers are refused.

    Returns:
        What the function gave.

    Raises:
        DataError: Samples cannot be used; names them.
    """
    batch = read(positions)
    if finite:
        check_finite_inputs(batch, positions)
    with naming_samples(positions):
        return function(positions, batch if model is None else to_model(batch, model))


def each_batch(
    function: Callable[[np.ndarray, Batch], T],
    read: Read,
    positions: np.ndarray,
    size: int | Batcher,
    *,
    model: nn.Module | None = None,
    finite: bool = True,
    bar: Bar | None = None,
) -> Iterator[tuple[np.ndarray, T]]:
    """Calls a function with one batch of samples after the other.

    Args:
        function: Called with positions and batch.
        read: Reads a batch.
        positions: Which samples, in order.
        size: Samples a batch. With a :class:`Batcher` a batch for which memory runs out is tried again in halves, so the
            function must leave nothing behind when it fails.
        model: As in :func:`on_batch`.
        finite: As in :func:`on_batch`.
        bar: Counts samples that are done.

    Yields:
        The positions of a batch, and what the function gave.

    Raises:
        DataError: Samples cannot be used; names them.
        ModelError: Memory runs out with a batch of one sample.
    """
    start = 0
    while start < len(positions):
        some = positions[start : start + (size.size if isinstance(size, Batcher) else size)]
        try:
            result = on_batch(function, read, some, model=model, finite=finite)
        except (RuntimeError, MemoryError) as error:
            if not isinstance(size, Batcher) or not is_out_of_memory(error):
                raise
            size.shrink(error)
            continue
        yield some, result
        start += len(some)
        if bar is not None:
            bar.advance(len(some))


def check_finite_inputs(batch: Batch, positions: np.ndarray) -> None:
    """Refuses inputs with NaN or infinite numbers; what labels may be is for the task to say.

    Args:
        batch: The batch.
        positions: Position of every row.

    Raises:
        DataError: Some inputs are not finite; names the samples.
    """
    for leaf in tree_flatten(_without_labels(batch))[0]:
        if not isinstance(leaf, Tensor) or not leaf.ndim or len(leaf) != len(positions):
            continue
        broken = [int(positions[row]) for row in rows_not_finite(leaf)]
        if broken:
            raise DataError(
                f"samples at positions {', '.join(map(str, broken[:10]))} hold NaN or infinite numbers: mend or remove "
                "them before the audit"
            )


def _without_labels(batch: Batch) -> Batch:
    """What of a batch goes into the model: all but the label keys of a dict, all but the last of a tuple."""
    if isinstance(batch, dict):
        return {name: value for name, value in batch.items() if name not in LABEL_KEYS}
    return batch[:-1] if isinstance(batch, tuple | list) and len(batch) > 1 else batch
