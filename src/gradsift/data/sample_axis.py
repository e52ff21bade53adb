"""The shape of a batch: every tensor begins with the sample axis, so that a row belongs to one sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.utils._pytree import keystr, tree_flatten_with_path
from torch.utils.data import default_collate

from gradsift.data.batch import Batch
from gradsift.errors import DataError

_WAY_OUT = (
    "In a batch every tensor must begin with the sample axis, so that a row belongs to one sample. In the DataLoader's "
    "collate_fn, pad samples of unequal shape to one shape, and repeat a tensor that all samples share, once a sample. Of "
    "joined graphs or texts, make one padded row a sample"
)


def with_sample_axis(batch: Batch, size: int) -> Batch:
    """Refuses a batch whose rows cannot be told apart.

    Args:
        batch: What a collate function gave.
        size: Number of samples that it was given.

    Returns:
        The batch; a mapping of another kind (such as a ``BatchEncoding``) as a dict.

    Raises:
        DataError: A tensor does not begin with an axis of this length, or an object holds tensors of its own.
    """
    if isinstance(batch, Mapping) and not isinstance(batch, dict):
        batch = dict(batch)
    lengths: dict[str, str] = {}
    right = True
    for path, leaf in tree_flatten_with_path(batch)[0]:
        name = f"entry {keystr(path)}" if path else "the batch"
        if isinstance(leaf, Tensor):
            right &= not leaf.ndim or len(leaf) == size
            lengths[name] = f"has length {len(leaf)}" if leaf.ndim else "is one number"
        elif _holds_tensors(leaf):
            right = False
            lengths[name] = f"is a {type(leaf).__name__}, whose rows are not known"
    if right:
        return batch
    shown = [f"{name} {what}" for name, what in lengths.items()]
    more = f" and {len(shown) - 6} more entries" if len(shown) > 6 else ""
    raise DataError(f"in a batch of {size} samples, {', '.join(shown[:6])}{more}. {_WAY_OUT}")


def refuse_plain_lists(dataset: Any, sample: Any, collate: Callable[[list[Any]], Batch]) -> None:
    """Refuses lists of numbers in a ``datasets.Dataset``, which the usual collate function would turn on their side.

    Args:
        dataset: The data set.
        sample: One of its samples.
        collate: What puts samples together.

    Raises:
        DataError: A column holds lists, and the data set can give tensors instead.
    """
    if collate is not default_collate or not hasattr(dataset, "with_format") or not isinstance(sample, Mapping):
        return
    lists = [str(name) for name, value in sample.items() if isinstance(value, list)]
    if lists:
        raise DataError(
            f"the data set gives plain lists in column {', '.join(map(repr, lists[:6]))}: ask it for tensors with "
            'train_set.with_format("torch"), or encode its rows with a TextSet, PromptSet or ImageSet'
        )


def _holds_tensors(leaf: Any) -> bool:
    """Whether an object of a batch is a container that torch does not look into, such as a joined graph."""
    if isinstance(leaf, str | bytes | int | float | complex | bool | None):
        return False
    moves = callable(getattr(leaf, "to", None))  # to a device, as graphs do
    return moves or any(isinstance(value, Tensor) for value in getattr(leaf, "__dict__", {}).values())
