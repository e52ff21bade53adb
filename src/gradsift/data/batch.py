"""What a batch is: a tuple ``(x, ..., y)`` or a dict of tensors that all begin with the sample axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from gradsift.errors import DataError

LABEL_KEYS = ("labels", "label", "y", "target", "targets")
"""Keys of a dict sample that are taken for its label, in this order."""

PREFIX = "gradsift_"
"""Names of columns that gradsift adds begin so; they are never inputs of a model."""
TARGET, WEIGHT, GIVEN_LABEL = PREFIX + "target", PREFIX + "weight", PREFIX + "given_label"
"""Columns of a cured data set: K probabilities of the true class, the weight of the loss, the label as it was given."""
FEATURES = PREFIX + "features"
"""Features by which a data set wants a sample's neighbours found, shape (n, D); kept where the last layer shows none."""
CURED = (TARGET, WEIGHT)
"""Those of them that a training reads beside what the model takes."""

COLUMNS = 1024
"""Most columns of inputs that are kept as a table of numbers."""

Batch = Any
"""A tuple ``(x, ..., y)``, or a dict, of tensors whose first axis is the sample."""


def label_key(batch: dict[str, Any]) -> str:
    """The key under which a dict batch holds its labels.

    Args:
        batch: The batch.

    Returns:
        The first of :data:`LABEL_KEYS` that is there.

    Raises:
        DataError: No key of the batch is one of :data:`LABEL_KEYS`.
    """
    for key in LABEL_KEYS:
        if key in batch:
            return key
    raise DataError(
        f"no label in a sample with the keys {sorted(batch)}: name it one of {', '.join(LABEL_KEYS)}, "
        "or pass a task whose own two methods read the batch"
    )


def labels_of(batch: Batch) -> Any:
    """The labels of a batch: the last element of a tuple, the label key of a dict.

    Args:
        batch: The batch.

    Returns:
        Whatever the batch holds as labels, usually a tensor of shape (n,) or (n, K).

    Raises:
        DataError: The batch is neither a dict nor a tuple of two or more elements.
    """
    if isinstance(batch, dict):
        return batch[label_key(batch)]
    if isinstance(batch, tuple | list) and len(batch) >= 2:
        return batch[-1]
    raise DataError(
        f"a batch of type {type(batch).__name__} has no label: samples must be tuples (x, y) or dicts, "
        "or the task's own two methods must read the batch"
    )


def inputs_of(batch: Batch) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What of a batch goes into the model.

    A tuple ``(x, y)`` gives ``model(x)``; where x is itself a dict, ``model(**x)``. A dict gives ``model(**rest)``
    without the label and without columns that gradsift adds, or ``model(rest)`` when only one entry named ``x``, ``input``
    or ``inputs`` is left.

    Args:
        batch: The batch.

    Returns:
        Positional and keyword arguments of the model.

    Raises:
        DataError: The batch has no label, so what is input cannot be told from it.
    """
    if isinstance(batch, dict):
        key = label_key(batch)
        rest = {
            name: value for name, value in batch.items() if name not in (key, "id") and not str(name).startswith(PREFIX)
        }
        if len(rest) == 1 and next(iter(rest)) in ("x", "input", "inputs"):
            return tuple(rest.values()), {}
        return (), rest
    labels_of(batch)
    if len(batch) == 2 and isinstance(batch[0], dict):
        return (), dict(batch[0])
    return tuple(batch[:-1]), {}


def table_of(batch: Batch) -> Tensor | None:
    """The inputs of a batch, where they are a table of numbers.

    Args:
        batch: The batch.

    Returns:
        Shape (n, D) with D at most :data:`COLUMNS`; ``None`` where inputs are anything else, or more.
    """
    arguments, keywords = inputs_of(batch)
    inputs = [*arguments, *keywords.values()]
    if len(inputs) != 1 or not isinstance(inputs[0], Tensor) or not inputs[0].is_floating_point():
        return None
    table = inputs[0]
    return table if table.ndim == 2 and 0 < table.shape[1] <= COLUMNS else None


def batch_size(batch: Batch) -> int:
    """How many samples a batch holds: the length of its first tensor.

    Args:
        batch: The batch.

    Returns:
        The number of samples.

    Raises:
        DataError: There is no tensor with a sample axis in the batch.
    """
    sizes: list[int] = []

    def note(leaf: Any) -> Any:
        if isinstance(leaf, Tensor) and leaf.ndim:
            sizes.append(len(leaf))
        return leaf

    tree_map(note, batch)
    if not sizes:
        raise DataError(f"a batch of type {type(batch).__name__} holds no tensor with a sample axis")
    return sizes[0]


def map_tensors(function: Callable[[Tensor], Tensor], batch: Batch) -> Batch:
    """Applies a function to every tensor of a batch and leaves the rest as it is.

    Args:
        function: What to apply.
        batch: The batch.

    Returns:
        A batch of the same structure.
    """
    return tree_map(lambda leaf: function(leaf) if isinstance(leaf, Tensor) else leaf, batch)


def to_model(batch: Batch, model: nn.Module) -> Batch:
    """Moves a batch to the device of a model and its floating tensors to the model's precision.

    Args:
        batch: The batch.
        model: The model whose first parameter tells device and dtype.

    Returns:
        The batch where the model can use it.
    """
    parameter = next(model.parameters())
    weighty = parameter.dtype.is_floating_point or parameter.dtype.is_complex
    dtype = parameter.dtype.to_real() if weighty else torch.float32

    def move(leaf: Tensor) -> Tensor:
        return leaf.to(parameter.device, dtype if leaf.is_floating_point() else leaf.dtype, non_blocking=True)

    return map_tensors(move, batch)


def shape_in_words(value: object) -> str:
    """The shape of a tensor, or the type of what should have been one, for a message.

    Args:
        value: Anything.

    Returns:
        Such as ``shape (4, 2)`` or ``dict``.
    """
    return f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def is_traced(tensor: Tensor) -> bool:
    """Whether torch.func traces the tensor, so that its numbers cannot be looked at.

    Args:
        tensor: Any tensor.

    Returns:
        True under ``vmap`` or ``grad``; checks of values are left to the plain forward pass then.
    """
    return torch._C._functorch.is_functorch_wrapped_tensor(tensor)


def rows_not_finite(tensor: Tensor) -> list[int]:
    """Rows of a tensor that hold NaN or infinite numbers.

    Args:
        tensor: Any tensor with a sample axis.

    Returns:
        The rows; none for tensors of whole numbers.
    """
    # Summed first: one number tells that all are finite, which is the usual case.
    if not tensor.is_floating_point() or is_traced(tensor) or bool(torch.isfinite(tensor.sum())):
        return []
    return (~torch.isfinite(tensor.reshape(len(tensor), -1))).any(dim=1).nonzero()[:, 0].tolist()


def rows(batch: Batch, start: int, stop: int, size: int) -> Batch:
    """Some consecutive samples of a batch.

    Args:
        batch: The batch.
        start: First row.
        stop: Row after the last.
        size: Number of samples of the batch; what does not begin with an axis of this length is kept whole.

    Returns:
        A batch of ``stop - start`` samples.
    """
    return map_tensors(lambda leaf: leaf[start:stop] if leaf.ndim and len(leaf) == size else leaf, batch)
