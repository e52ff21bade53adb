"""Carries each sample's position through shuffling, workers and collation.

Training loops and their callbacks see batches without positions. A wrapped data set gives samples that know theirs, and the
wrapped collate function puts them beside the batch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from gradsift.data import LABEL_KEYS, Samples
from gradsift.errors import DataError

POSITIONS = "gradsift_positions"
"""Key of the positions in a batch that is a dict."""
UNKNOWN = -1
"""Position of rows of which it cannot be told whose they are."""


class IndexedSample:
    """A sample and its position. No dict, so a Trainer drops none of its columns.

    Args:
        position: Its position.
        sample: The sample as the data set gives it.
    """

    __slots__ = ("position", "sample")

    def __init__(self, position: int, sample: Any) -> None:
        self.position, self.sample = position, sample


class IndexedBatch:
    """A tuple batch with positions: it unpacks, moves between devices and is pinned as the tuple itself would be.

    Args:
        batch: The batch.
        positions: Position of each sample, shape (n,).
    """

    def __init__(self, batch: Any, positions: Tensor) -> None:
        self.batch, self.positions = batch, positions

    def __iter__(self) -> Iterator[Any]:
        """The parts of the batch."""
        return iter(self.batch)

    def __len__(self) -> int:
        """Number of parts."""
        return len(self.batch)

    def __getitem__(self, place: Any) -> Any:
        """One part."""
        return self.batch[place]

    def to(self, *arguments: Any, **keywords: Any) -> IndexedBatch:
        """Moves the tensors, as ``Tensor.to`` does.

        Args:
            *arguments: As for ``Tensor.to``.
            **keywords: As for ``Tensor.to``.

        Returns:
            The batch there.
        """
        return IndexedBatch(_each(lambda t: t.to(*arguments, **keywords), self.batch), self.positions)

    def pin_memory(self) -> IndexedBatch:
        """Pins the tensors, for a loader with ``pin_memory``."""
        return IndexedBatch(_each(lambda t: t.pin_memory(), self.batch), self.positions)


class IndexedSet(Dataset):
    """A data set whose samples know their positions; see :func:`indexed`.

    Args:
        source: The data set.
        collate: Puts samples together, in place of what the source says.
        keep: Keys of dict samples that are kept; all where ``None``.

    Attributes:
        source: The data set.
        samples: Its samples, put together as in training, without positions.
    """

    def __init__(self, source: Any, collate: Callable[[list[Any]], Any] | None, keep: frozenset[str] | None) -> None:
        self.source, self.samples = source, Samples(source, collate=collate)
        if keep is not None:
            self.samples = Samples(source, collate=KeepingColumns(self.samples.collation.function, keep))

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.samples)

    def __getitem__(self, position: int) -> IndexedSample:
        """A sample with its position."""
        place = int(position) % len(self) if -len(self) <= int(position) < len(self) else int(position)
        return IndexedSample(place, self.samples.sample(place))

    def collate(self, samples: list[Any]) -> Any:
        """Puts samples together, with their positions; samples of another data set as ever.

        Positions go with the rows where the collate function sorts, drops or repeats samples.

        Args:
            samples: Samples of this data set, or plain ones (of an evaluation set).

        Returns:
            The batch: a dict with the key ``gradsift_positions``, or an :class:`IndexedBatch`. Positions are
            :data:`UNKNOWN` where rows cannot be told apart.
        """
        collation = self.samples.collation
        if not samples or not isinstance(samples[0], IndexedSample):
            return collation.function(samples)
        batch, rows = collation.traced([one.sample for one in samples])
        places = [samples[row].position for row in rows if row is not None]
        positions = torch.tensor(places if len(places) == len(rows) else [UNKNOWN] * len(rows))
        if isinstance(batch, Mapping):
            return type(batch)({**batch, POSITIONS: positions})  # type: ignore[call-arg]  # dict or BatchEncoding
        return IndexedBatch(batch, positions)


class KeepingColumns:
    """A collate function that is given some keys of dict samples alone.

    Args:
        collate: The collate function.
        keep: The keys.
    """

    def __init__(self, collate: Callable[[list[Any]], Any], keep: frozenset[str]) -> None:
        self.func, self._keep = collate, keep

    def __call__(self, samples: list[Any]) -> Any:
        """Puts samples together."""
        return self.func([self._kept(sample) for sample in samples])

    def _kept(self, sample: Any) -> Any:
        if not isinstance(sample, Mapping):
            return sample
        return {key: value for key, value in sample.items() if key in self._keep}


def indexed(
    train_set: Any, collate: Callable[[list[Any]], Any] | None = None, *, model: nn.Module | None = None
) -> IndexedSet:
    """Wraps a data set so that positions survive shuffling; its ``collate`` goes into the loader.

    For example ``wrapped = indexed(train_set)`` and ``DataLoader(wrapped, shuffle=True, collate_fn=wrapped.collate)``.

    Args:
        train_set: A map-style data set, arrays, or a ``DataLoader``, of which data set and collate function are used.
        collate: The collate function in use; the data set's own, or torch's, where left out.
        model: For a ``Trainer``: columns that its ``forward`` does not take are dropped, as the Trainer itself would.

    Returns:
        The wrapped data set.

    Raises:
        DataError: It has no positions.
    """
    if isinstance(train_set, IndexedSet):
        raise DataError("the data set is indexed already")
    if isinstance(train_set, DataLoader):  # it may shuffle: positions travel with the samples
        collate, train_set = collate or train_set.collate_fn, train_set.dataset
    return IndexedSet(train_set, collate, None if model is None else _taken_by(model))


def split_positions(batch: Any) -> tuple[Any, Tensor | None]:
    """A batch as it was, and the positions that travelled with it.

    Args:
        batch: A batch of a wrapped data set, or a plain one.

    Returns:
        The batch without positions, and the positions, shape (n,), or ``None``.
    """
    if isinstance(batch, IndexedBatch):
        return batch.batch, batch.positions
    if isinstance(batch, Mapping) and POSITIONS in batch:
        rest = {key: value for key, value in batch.items() if key != POSITIONS}
        return type(batch)(rest), batch[POSITIONS]  # type: ignore[call-arg]  # dict or BatchEncoding
    return batch, None


def _taken_by(model: nn.Module) -> frozenset[str]:
    """Names of what a model's forward takes; of the model inside of an adapter."""
    base: Any = getattr(model, "get_base_model", None)
    inner = base() if callable(base) else model
    return frozenset(inspect.signature(inner.forward).parameters) | {*LABEL_KEYS, "label_ids"}


def _each(function: Callable[[Tensor], Tensor], batch: Any) -> Any:
    if isinstance(batch, Tensor):
        return function(batch)
    if isinstance(batch, Mapping):
        return {key: _each(function, value) for key, value in batch.items()}
    if isinstance(batch, tuple | list):
        return type(batch)(_each(function, value) for value in batch)
    return batch
