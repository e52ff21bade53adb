"""Reading any kind of data set by position, and giving back the same kind with fewer samples."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, SequentialSampler, Subset, default_collate

from gradsift.data.batch import LABEL_KEYS, Batch
from gradsift.data.class_names import features_of, names_of_column
from gradsift.data.collation import Collation
from gradsift.data.columns import columns_of
from gradsift.data.sample_axis import refuse_plain_lists, with_sample_axis
from gradsift.errors import DataError


class Samples:
    """A data set whose samples are read by position.

    Args:
        source: One of: a tuple or dict of equally long numpy arrays, tensors, data frames and series of pandas or sparse
            matrices of scipy; a data frame with a column of labels; a map-style data set (anything with
            ``__len__`` and ``__getitem__``) of ``(x, y)`` tuples or dicts, put together by its own ``collate`` where it, or
            the data set that it is a ``Subset`` of, has one; a ``DatasetDict`` with a split named train; a ``DataLoader``
            that does not shuffle, of which the data set and the collate function are used.
        collate: Puts samples together, in place of what the source says.

    Attributes:
        source: The object that was given.
        collation: Puts samples together.

    Raises:
        DataError: The source is empty, has no length, shuffles, or is of no known kind.
    """

    def __init__(self, source: Any, *, collate: Callable[[list[Any]], Batch] | None = None) -> None:
        if isinstance(source, Samples):
            source, collate = source.source, collate or source.collation.function
        self.source: Any = source
        self._columns = None if is_splits(source) else columns_of(source)
        self._dataset: Any = None
        own: Callable[[list[Any]], Batch] = default_collate
        if self._columns is None:
            self._dataset, own = _indexable(one_split(source) if is_splits(source) else source)
        self.collation = Collation(collate or own)
        if len(self) == 0:
            raise DataError(f"the data set ({type(source).__name__}) is empty: there is no sample to audit")

    def __len__(self) -> int:
        """The number of samples."""
        return len(self._dataset if self._columns is None else self._columns)

    @property
    def arrays(self) -> tuple[Any, ...] | dict[str, Any] | None:
        """The whole data set as arrays of what batches hold, where it is in memory so; otherwise ``None``."""
        return self.stored if self._columns is None else self._columns.arrays

    @property
    def stored(self) -> Any:
        """The columns as they were given: a tuple or dict of arrays, a data frame; ``None`` for other data sets."""
        if isinstance(self._dataset, torch.utils.data.TensorDataset):
            return tuple(self._dataset.tensors)
        return None if self._columns is None else self._columns.source

    @property
    def inputs_and_labels(self) -> tuple[Any, Any] | None:
        """X and y as they were given, where the data set is such a pair or a data frame; otherwise ``None``."""
        if self._columns is not None:
            return self._columns.inputs_and_labels
        stored = self.stored
        return stored if stored is not None and len(stored) == 2 else None

    @property
    def words(self) -> list[str] | None:
        """Names of the classes, where labels in memory are words, which are numbered in this order; otherwise ``None``."""
        return None if self._columns is None else self._columns.class_names

    @property
    def dataset(self) -> Any:
        """The map-style data set that holds the samples; ``None`` where arrays do."""
        return self._dataset

    @property
    def raw(self) -> Samples:
        """The rows behind a data set that encodes them (its ``raw``), which identify it; otherwise the samples."""
        return self if rows_of(self._dataset) is self._dataset else Samples(rows_of(self._dataset))

    @property
    def in_any_order(self) -> Samples:
        """The same samples, whose batches are not compared with them: for what looks at a batch as a whole."""
        other = copy.copy(self)
        other.collation = Collation(self.collation.function, compares=False)
        return other

    @property
    def class_names(self) -> list[str] | None:
        """Names of the classes, where labels are words, or the data set has ``classes`` or a ``ClassLabel``."""
        if self.words is not None:
            return self.words
        names = getattr(self._dataset, "classes", None)
        if isinstance(names, list | tuple):
            return [str(name) for name in names]
        label = next((key for key in LABEL_KEYS if key in features_of(self._dataset)), None)
        return names_of_column(self._dataset, label) if label is not None else None

    @property
    def label_column(self) -> str | None:
        """The column of labels, where the rows of a file or an encoded set name it as their ``label``."""
        name = getattr(self._dataset, "label", None)
        return name if isinstance(name, str) else None

    @property
    def labels(self) -> Any:
        """Labels as batches hold them, where the data set is held as columns, whatever its inputs are; or ``None``."""
        return None if self._columns is None else self._columns.labels

    @property
    def ids(self) -> list[str] | None:
        """A name for each sample, where the rows have ``ids``, such as the files of a folder of images."""
        ids = getattr(self.raw.dataset, "ids", None)
        return [str(name) for name in ids] if isinstance(ids, list | tuple) and len(ids) == len(self) else None

    def evenly_spaced(self, count: int) -> np.ndarray:
        """Positions of some samples that are spread over the data set, from the first to the last.

        Args:
            count: How many, at most.

        Returns:
            Positions in rising order.
        """
        return np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).astype(int))

    def sample(self, position: int) -> Any:
        """One sample as the data set gives it.

        Args:
            position: Its position.

        Returns:
            A tuple or a dict without a batch axis.
        """
        if isinstance(self._dataset, pa.Table):
            return {name: self._dataset[name][position].as_py() for name in self._dataset.column_names}
        return self._dataset[position] if self._columns is None else self._columns.sample(position)

    def several(self, positions: Sequence[int]) -> list[Any] | None:
        """Some samples as the data set gives them, read together where it can give a slice.

        Args:
            positions: Which ones.

        Returns:
            What :meth:`sample` gives of each; ``None`` of a data set that gives its samples one by one.
        """
        if self._columns is not None:
            return self._columns.several(positions)
        source, low = self._dataset, min(positions)
        if type(source) is torch.utils.data.TensorDataset:  # a class of its own may read otherwise
            return list(zip(*(column[list(positions)] for column in source.tensors), strict=True))
        if isinstance(source, pa.Table):
            return source.slice(low, max(positions) + 1 - low).take([one - low for one in positions]).to_pylist()
        return source.__getitems__(list(positions)) if is_plain_hub(source) else None

    def batch(self, positions: Sequence[int] | np.ndarray) -> Batch:
        """Several samples, collated.

        Args:
            positions: Which ones, in order.

        Returns:
            A tuple or dict of tensors whose first axis runs over the positions.

        Raises:
            DataError: The samples cannot be put together into one batch, or its rows are not those of the samples.
        """
        indices = [int(position) for position in positions]
        if self._columns is not None and self.collation.function is default_collate:
            return self._columns.take(indices)
        samples = []
        for index in indices:
            try:
                samples.append(self.sample(index))
            except Exception as error:
                error.add_note(f"raised by the data set, at position {index}")
                raise
        refuse_plain_lists(self._dataset, samples[0], self.collation.function)
        try:
            batch = self.collation.batch(samples, indices)
        except DataError:
            raise
        except (RuntimeError, TypeError, ValueError) as error:
            raise DataError(
                f"samples at positions {indices[0]} to {indices[-1]} cannot be put into one batch: {error}. "
                "Make them equally shaped, or pass a DataLoader (shuffle=False) whose collate_fn pads them"
            ) from error
        return with_sample_axis(batch, len(samples))

    def keep(self, positions: Sequence[int] | np.ndarray) -> Any:
        """The same kind of data set as was given, with only some samples.

        Args:
            positions: Positions to keep, in order.

        Returns:
            A tuple or dict of arrays, a data frame with its index, a list, whatever the source's own ``select`` gives, a
            ``Subset``, or a ``DataLoader`` with the settings of the one given. The source is left as it is.
        """
        indices = np.asarray(positions, dtype=np.int64)
        source = self.source
        if self._columns is not None:
            return self._columns.keep(indices)
        if isinstance(source, DataLoader):
            return loader_over(source, Samples(source.dataset).keep(indices))
        if is_splits(source):
            return with_split(source, Samples(one_split(source)).keep(indices))
        if isinstance(source, list | tuple):
            return type(source)(source[int(index)] for index in indices)
        if isinstance(source, pa.Table):
            return source.take(pa.array(indices))
        if callable(getattr(source, "select", None)):
            return source.select(indices.tolist())
        return Subset(source, indices.tolist())


def _indexable(source: Any) -> tuple[Dataset[Any], Callable[[list[Any]], Batch]]:
    if isinstance(source, DataLoader):
        if isinstance(source.dataset, IterableDataset):
            raise DataError(_NO_LENGTH.format(kind="a DataLoader over an IterableDataset"))
        if source.batch_sampler is None:
            raise DataError("the DataLoader has batch_size=None, so its items are no samples: give it a batch_size")
        sampler = getattr(source.batch_sampler, "sampler", source.sampler)
        if not isinstance(sampler, SequentialSampler):
            raise DataError(
                f"the DataLoader draws its samples with {type(sampler).__name__}, so positions would be lost: "
                "pass DataLoader(dataset, shuffle=False), or the data set itself"
            )
        return source.dataset, source.collate_fn
    if _is_streaming(source):
        raise DataError(
            f"the data set is a {type(source).__name__} of the library datasets, which streams rows and has no positions: "
            "load it with streaming=False. Or give its files by path or URL, which are read by position: "
            "--data 'hf://datasets/owner/name/data/*.parquet', in Python gradsift.data.files.load"
        )
    if isinstance(source, IterableDataset) or not (hasattr(source, "__len__") and hasattr(source, "__getitem__")):
        raise DataError(_NO_LENGTH.format(kind=f"a {type(source).__name__}"))
    if isinstance(source, str | bytes):
        raise DataError(f"the data set is a {type(source).__name__}; load the file first (gradsift.data.files.load)")
    whole = source
    while isinstance(whole, Subset):
        whole = whole.dataset
    return source, getattr(whole, "collate", default_collate)


def _is_streaming(source: Any) -> bool:
    """Whether a data set is a ``datasets.IterableDataset``, whose shards do not say how many rows they hold."""
    return type(source).__module__.startswith("datasets.") and type(source).__name__.startswith("Iterable")


def is_hub(source: Any) -> bool:
    """Whether a data set is a ``datasets.Dataset``."""
    return type(source).__module__.startswith("datasets.") and hasattr(source, "with_format")


DECODED = ("Image(", "Audio(", "Video(", "Pdf(")
"""Features of a ``datasets.Dataset`` that are computed from what is stored."""


def is_plain_hub(source: Any) -> bool:
    """Whether a data set is a ``datasets.Dataset`` whose rows are what is stored.

    Args:
        source: Any data set.

    Returns:
        False where images or sounds are decoded, or a format or transform changes rows.
    """
    return (
        is_hub(source) and source.format["type"] is None and not any(kind in repr(source.features) for kind in DECODED)
    )


def rows_of(source: Any) -> Any:
    """The rows behind a data set that encodes them.

    Args:
        source: Any data set.

    Returns:
        Its ``raw`` where it can take other rows (``with_rows``), otherwise the data set.
    """
    return source.raw if callable(getattr(type(source), "with_rows", None)) else source


def is_splits(source: Any) -> bool:
    """Whether a data set is a dict of splits, as a ``DatasetDict`` is.

    Args:
        source: A data set.

    Returns:
        True where every value has columns and can be selected from.
    """
    return (
        isinstance(source, Mapping)
        and bool(source)
        and all(hasattr(one, "column_names") and hasattr(one, "select") for one in source.values())
    )


def one_split(splits: Any) -> Any:
    """The split that is meant: ``train``, or the only one.

    Args:
        splits: A dict of splits.

    Returns:
        The split.

    Raises:
        DataError: There are several and none is named train.
    """
    return splits[_split_name(splits)]


def with_split(splits: Any, split: Any) -> Any:
    """The dict of splits with another split in place of the one that is meant.

    Args:
        splits: A dict of splits.
        split: The other one.

    Returns:
        The same kind of dict, the other splits as they are.
    """
    return type(splits)(dict(splits) | {_split_name(splits): split})


def loader_over(loader: DataLoader[Any], dataset: Any, collate: Callable[[list[Any]], Batch] | None = None) -> Any:
    """A loader with the settings of another one, over another data set.

    Args:
        loader: The loader whose settings count.
        dataset: The data set.
        collate: Puts samples together; the loader's own function where left out.

    Returns:
        The new loader, which does not shuffle.
    """
    return DataLoader(
        dataset,
        batch_size=loader.batch_size or getattr(loader.batch_sampler, "batch_size", 1),
        num_workers=loader.num_workers,
        collate_fn=collate or loader.collate_fn,
        pin_memory=loader.pin_memory,
        drop_last=loader.drop_last,
    )


def _split_name(splits: Mapping[str, Any]) -> str:
    if "train" in splits or len(splits) == 1:
        return "train" if "train" in splits else next(iter(splits))
    raise DataError(
        f"the data set has the splits {', '.join(splits)}: pass the one to audit, such as data[{next(iter(splits))!r}]"
    )


_NO_LENGTH = (
    "the data set is {kind}, which has no length or no positions, and every score belongs to a position: "
    "pass a map-style data set (__len__ and __getitem__), arrays, or list(it)"
)
