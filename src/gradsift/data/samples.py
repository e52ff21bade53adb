"""Reading any kind of data set by position, and giving back the same kind with fewer samples."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, SequentialSampler, Subset, default_collate

from gradsift.data.arrays import give_back_pages
from gradsift.data.batch import LABEL_KEYS, Batch
from gradsift.data.class_names import features_of, names_of_column
from gradsift.data.collation import Collation
from gradsift.data.sample_axis import refuse_plain_lists, with_sample_axis
from gradsift.errors import DataError


class Samples:
    """A data set whose samples are read by position.

    Args:
        source: One of: a tuple or dict of equally long numpy arrays or tensors; a map-style data set (anything with
            ``__len__`` and ``__getitem__``) of ``(x, y)`` tuples or dicts, put together by its own ``collate`` where it has
            one; a ``DatasetDict`` with a split named train; a ``DataLoader`` that does not shuffle, of which the data set
            and the collate function are used.
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
        self._arrays = _arrays_of(source)
        self._dataset: Any = None
        own: Callable[[list[Any]], Batch] = default_collate
        if self._arrays is None:
            self._dataset, own = _indexable(one_split(source) if is_splits(source) else source)
        self.collation = Collation(collate or own)
        if len(self) == 0:
            raise DataError(f"the data set ({type(source).__name__}) is empty: there is no sample to audit")

    def __len__(self) -> int:
        """The number of samples."""
        if self._arrays is not None:
            return len(next(iter(_columns(self._arrays))))
        return len(self._dataset)

    @property
    def arrays(self) -> tuple[Any, ...] | dict[str, Any] | None:
        """The whole data set as arrays, where it is held so; otherwise ``None``."""
        if self._arrays is None and isinstance(self._dataset, torch.utils.data.TensorDataset):
            return tuple(self._dataset.tensors)
        return self._arrays

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
        """Names of the classes, where the data set carries them as ``classes`` or as ``ClassLabel`` of its labels."""
        names = getattr(self._dataset, "classes", None)
        if isinstance(names, list | tuple):
            return [str(name) for name in names]
        label = next((key for key in LABEL_KEYS if key in features_of(self._dataset)), None)
        return names_of_column(self._dataset, label) if label is not None else None

    def sample(self, position: int) -> Any:
        """One sample as the data set gives it.

        Args:
            position: Its position.

        Returns:
            A tuple or a dict without a batch axis.
        """
        if isinstance(self._dataset, pa.Table):
            return {name: self._dataset[name][position].as_py() for name in self._dataset.column_names}
        if self._arrays is None:
            return self._dataset[position]
        if isinstance(self._arrays, dict):
            return {name: column[position] for name, column in self._arrays.items()}
        return tuple(column[position] for column in self._arrays)

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
        whole = self._arrays if self.collation.function is default_collate else None
        if isinstance(whole, dict):
            return {name: _take(column, indices) for name, column in whole.items()}
        if whole is not None:
            return tuple(_take(column, indices) for column in whole)
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
            A tuple or dict of arrays, a list, whatever the source's own ``select`` gives, a ``Subset``, or a
            ``DataLoader`` with the settings of the one given. The source is left as it is.
        """
        indices = np.asarray(positions, dtype=np.int64)
        source = self.source
        if isinstance(self._arrays, dict):
            return {name: _select(column, indices) for name, column in self._arrays.items()}
        if self._arrays is not None:
            return type(self._arrays)(_select(column, indices) for column in self._arrays)
        if isinstance(source, DataLoader):
            kept = Samples(source.dataset).keep(indices)
            return DataLoader(
                kept,
                batch_size=source.batch_size or getattr(source.batch_sampler, "batch_size", 1),
                num_workers=source.num_workers,
                collate_fn=source.collate_fn,
                pin_memory=source.pin_memory,
                drop_last=source.drop_last,
            )
        if is_splits(source):
            name = _split_name(source)
            return type(source)(dict(source) | {name: Samples(source[name]).keep(indices)})
        if isinstance(source, list | tuple):
            return type(source)(source[int(index)] for index in indices)
        if isinstance(source, pa.Table):
            return source.take(pa.array(indices))
        if callable(getattr(source, "select", None)):
            return source.select(indices.tolist())
        return Subset(source, indices.tolist())


def _arrays_of(source: Any) -> tuple[Any, ...] | dict[str, Any] | None:
    """The source as a tuple or dict of whole columns, or ``None`` where it is a collection of samples."""
    if isinstance(source, dict) and not is_splits(source):
        columns = list(source.values())
        if not columns:
            raise DataError("the data set is an empty dict: there is no sample to audit")
    elif _is_pair(source) or (
        isinstance(source, tuple) and source and all(isinstance(column, np.ndarray | Tensor) for column in source)
    ):
        columns = list(source)
    elif isinstance(source, tuple) and len(source) == 2 and isinstance(source[0], np.ndarray | Tensor):
        columns = list(source)  # (X, y) with y a list: no two samples
    else:
        return None
    for column in columns:
        if not isinstance(column, np.ndarray | Tensor) or column.ndim == 0:
            raise DataError(
                f"a dict or tuple that is a data set must hold arrays or tensors, got {type(column).__name__}; "
                "turn lists into arrays, or pass a list of samples instead"
            )
        if isinstance(column, np.ndarray) and np.ma.is_masked(column):
            rows = np.flatnonzero(np.ma.getmaskarray(column).reshape(len(column), -1).any(axis=1))
            raise DataError(
                f"{len(rows)} samples have masked values, at positions {', '.join(map(str, rows[:10]))}: fill them "
                "(array.filled(value)) or remove the samples"
            )
    lengths = [len(column) for column in columns]
    if len(set(lengths)) > 1:
        raise DataError(f"the arrays of the data set have different lengths {lengths}: each needs one row a sample")
    return source


def _is_pair(source: Any) -> bool:
    """Whether a list is inputs and labels, ``[X, y]``, and not two samples: equally long, the labels with fewer axes."""
    return (
        isinstance(source, list)
        and len(source) == 2
        and all(isinstance(column, np.ndarray | Tensor) and column.ndim for column in source)
        and len(source[0]) == len(source[1])
        and source[1].ndim < source[0].ndim
    )


def _columns(arrays: tuple[Any, ...] | dict[str, Any]) -> Sequence[Any]:
    return list(arrays.values()) if isinstance(arrays, dict) else arrays


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
    if isinstance(source, IterableDataset) or not (hasattr(source, "__len__") and hasattr(source, "__getitem__")):
        raise DataError(_NO_LENGTH.format(kind=f"a {type(source).__name__}"))
    if isinstance(source, str | bytes):
        raise DataError(f"the data set is a {type(source).__name__}; load the file first (gradsift.data.files.load)")
    return source, getattr(source, "collate", default_collate)


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


def _take(column: Any, indices: list[int]) -> Any:
    picked = column[indices]
    give_back_pages(column)
    if isinstance(picked, np.ndarray) and picked.dtype.kind not in "biufc":
        return picked.tolist()  # ids and other words, as default_collate has them
    if isinstance(picked, Tensor):
        return picked
    kind = picked.dtype.newbyteorder("=")  # torch takes the machine's own order of bytes alone
    return torch.from_numpy(np.ascontiguousarray(picked, dtype=np.float64 if kind == np.longdouble else kind))


def _select(column: Any, indices: np.ndarray) -> Any:
    return column[torch.from_numpy(indices)] if isinstance(column, Tensor) else column[indices]
