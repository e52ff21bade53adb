"""A cure done to a data set of any kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from gradsift.cleaning.corrected_set import CorrectedSet, collate_of, label_key_of, label_of
from gradsift.cleaning.cure import HOWS, Cure
from gradsift.cleaning.swapped import swapped
from gradsift.data.added_columns import as_column, has_columns, refuse_unheld, with_columns
from gradsift.data.batch import GIVEN_LABEL, LABEL_KEYS, TARGET, WEIGHT
from gradsift.data.frames import is_frame, is_series
from gradsift.data.samples import Samples, is_splits, loader_over, one_split, rows_of, with_split
from gradsift.errors import DataError, SettingError


def apply(
    cure: Cure,
    train_set: Any,
    *,
    positions: np.ndarray | None = None,
    label: str | None = None,
    class_names: Sequence[str] | None = None,
) -> Any:
    """The data set with a cure done: without samples, or with other labels, soft targets or weights.

    Example:
        >>> import numpy as np
        >>> from gradsift.cleaning.cure import soft
        >>> y = np.array([0, 1])
        >>> X, Y = apply(soft(np.array([[0.9, 0.1], [0.4, 0.6]]), y), (np.eye(2), y))
        >>> Y.shape, Y.dtype.name
        ((2, 2), 'float32')

    Args:
        cure: The cure, of as many samples as the data set has.
        train_set: The data set: whatever an audit takes.
        positions: Positions of the samples to take, rising; all where left out.
        label: Column of labels, where samples are relabelled and it has no usual name.
        class_names: Names of the classes in the order of their numbers: tells the words of classes that no sample has.

    Returns:
        The same kind of data set, in the same order; the original is left as it is. Rows with columns (dicts, tables,
        ``datasets``, data frames, lists of dicts, encoded sets) get ``gradsift_target``, a list of K probabilities, or
        ``gradsift_weight``, and keep their label; with new labels, ``gradsift_given_label`` keeps the old ones. Tuples
        and samples ``(x, y)`` become ``(x, new y)``, ``(x, target)`` with targets of shape (n, K) in float32, or
        ``(x, y, weight)``. Pairs of answers with a new label are turned around (:mod:`gradsift.cleaning.swapped`). Of
        a dict of splits the one that is audited is changed.

    Raises:
        DataError: The data set has another number of samples, no labels, or no word for a new label.
    """
    samples = Samples(train_set)
    if len(samples) != len(cure):
        raise DataError(
            f"the cure is of {len(cure)} samples, the data set has {len(samples)}: pass the data set that was audited"
        )
    of_class = (
        {} if cure.labels is None or cure.pairs is not None else _labels_of_classes(cure, samples, label, class_names)
    )
    if positions is not None:
        positions = np.asarray(positions, dtype=np.int64)
        cure, train_set = cure.of(positions), samples.keep(positions)
    if cure.labels is not None and cure.pairs is not None:
        cure, train_set = replace(cure, labels=None), swapped(train_set, cure)
    if cure.relabels or cure.targets is not None or cure.weights is not None:
        train_set = _changed(train_set, cure, _new_labels(cure, of_class), label)
    return train_set if len(cure.kept) == len(cure) else Samples(train_set).keep(cure.kept)


def accepted(train_fn: Any) -> set[str]:
    """Kinds of cures that a training can take.

    Args:
        train_fn: The training; ``train_fn.accepts = {"soft", "weight"}`` says that it takes soft targets, weights or both.

    Returns:
        Them and those that every training takes: none, drop, relabel, reviewed.

    Raises:
        SettingError: It says something else.
    """
    declared = getattr(train_fn, "accepts", ())
    told = {declared} if isinstance(declared, str) else set(declared)
    if not told <= set(HOWS):
        raise SettingError(f"train_fn.accepts is {declared!r}: give the cures that it can take, of {', '.join(HOWS)}")
    return {"none", "drop", "relabel", "reviewed", *told}


def _changed(source: Any, cure: Cure, new: dict[int, Any], label: str | None) -> Any:
    """Does what the cure says to labels, by the kind of data set."""
    if is_splits(source):
        return with_split(source, _changed(one_split(source), cure, new, label))
    rows = rows_of(source)
    if rows is not source:
        return source.with_rows(_changed(rows, cure, new, label or source.label))
    if isinstance(source, DataLoader):
        return loader_over(source, _changed(source.dataset, cure, new, label), collate_of(source.collate_fn, cure))
    if isinstance(source, TensorDataset):
        return TensorDataset(*_changed_tuple(source.tensors, cure, new))
    if isinstance(Samples(source).stored, tuple | list):
        columns = _changed_tuple(source, cure, new)
        return type(source)(columns) if cure.relabels else columns  # a list [X, Y] would be two samples
    if has_columns(source):
        return _changed_rows(source, cure, new, label)
    wrapped = CorrectedSet(source, cure, new, label)
    if isinstance(source, list | tuple):
        return type(source)([wrapped[position] for position in range(len(source))])
    wrapped[0]  # samples without labels are refused before they are trained on
    return wrapped


def _changed_tuple(columns: Sequence[Any], cure: Cure, new: dict[int, Any]) -> tuple[Any, ...]:
    """Columns ``(X, ..., y)`` with y replaced, or followed by weights."""
    *inputs, y = columns
    if not inputs:
        raise DataError("the data set is a single array, which has no labels: pass inputs and labels, (X, y)")
    if cure.relabels:
        y = _relabelled(y, new)
    if cure.targets is not None:
        y = _like(y, cure.targets)
    return (*inputs, y) if cure.weights is None else (*inputs, y, _like(y, cure.weights))


def _changed_rows(rows: Any, cure: Cure, new: dict[int, Any], label: str | None) -> Any:
    """Rows with more columns, and another label where the cure says so."""
    added: dict[str, pa.Array] = {}
    if cure.targets is not None:
        added[TARGET] = as_column(cure.targets)
    if cure.weights is not None:
        added[WEIGHT] = as_column(cure.weights)
    if isinstance(rows, dict):
        tensors = next((column for column in rows.values() if isinstance(column, Tensor)), None)
        rows = with_columns(rows, added)
        if tensors is not None:  # beside tensors stand tensors
            rows |= {name: torch.from_numpy(rows[name].copy()).to(tensors.device) for name in added}
    elif added:
        rows = with_columns(rows, added)
    return _with_labels(rows, cure, new, label) if cure.relabels else rows


def _with_labels(rows: Any, cure: Cure, new: dict[int, Any], label: str | None) -> Any:
    """Rows whose column of labels holds the new ones, beside the given ones."""
    key = label_name(rows, label)
    if isinstance(rows, dict) or is_frame(rows):
        given = rows[GIVEN_LABEL] if GIVEN_LABEL in rows else rows[key]
        columns = {GIVEN_LABEL: given, key: _relabelled(rows[key], new)}
        return rows | columns if isinstance(rows, dict) else rows.assign(**columns)
    if isinstance(rows, list):
        wrapped = CorrectedSet(rows, cure, new, key)
        return [wrapped[position] for position in range(len(rows))]
    values = rows[key].to_pylist() if isinstance(rows, pa.Table) else list(rows[key])
    given = list(values)
    for position, value in new.items():
        values[position] = value
    if isinstance(rows, pa.Table):
        field, place = rows.schema.field(key), rows.schema.get_field_index(key)
        if GIVEN_LABEL not in rows.column_names:
            rows = rows.append_column(field.with_name(GIVEN_LABEL), rows[key])
        refuse_unheld(key, new.values(), field.type)
        return rows.set_column(place, field, pa.array(values, field.type))
    names, feature = rows.column_names, rows.features[key]
    if GIVEN_LABEL not in names:
        rows = rows.add_column(GIVEN_LABEL, given, feature=feature)
        names = [*names, GIVEN_LABEL]
    refuse_unheld(key, new.values(), rows.features.arrow_schema.field(key).type)
    return rows.remove_columns(key).add_column(key, values, feature=feature).select_columns(names)


def label_name(rows: Any, label: str | None) -> str:
    """The column of labels of rows that have columns.

    Args:
        rows: The rows.
        label: Its name, if it is known.

    Returns:
        Its name as it stands in the rows.

    Raises:
        DataError: There is none.
    """
    if is_frame(rows):
        usual = [name for name in rows.columns if str(name).lower() in LABEL_KEYS]
        return label_key_of(list(rows.columns), label or (usual[0] if usual else None))
    names = getattr(rows, "column_names", None)
    return label_key_of(list(rows[0] if isinstance(rows, list) else rows) if names is None else names, label)


def _relabelled(column: Any, new: dict[int, Any]) -> Any:
    """A column of labels, an array of some kind, with the new ones."""
    places, values = np.array(list(new), dtype=np.int64), list(new.values())
    if not values:
        return column.clone() if isinstance(column, Tensor) else column.copy()
    if is_frame(column) or is_series(column):
        other = column.copy()
        other.iloc[places] = np.asarray(values).reshape(-1, *other.shape[1:]) if is_frame(column) else values
        return other
    if isinstance(column, Tensor):
        other = column.clone()
        other[torch.from_numpy(places)] = torch.as_tensor(np.stack([np.asarray(value) for value in values])).to(other)
        return other
    if column.dtype.kind == "O":
        other = column.copy()
        for place, value in new.items():
            other[place] = value
        return other
    stacked = np.asarray(values)
    other = column.astype(np.result_type(column, stacked) if column.dtype.kind in "US" else column.dtype)
    other[places] = stacked
    return other


def _new_labels(cure: Cure, of_class: dict[int, Any]) -> dict[int, Any]:
    """Position to a new label as the data set has it, of the samples that get one."""
    if cure.parts is not None:
        return dict(cure.parts)
    if cure.labels is None:
        return {}
    return {int(place): of_class[int(cure.labels[place])] for place in np.flatnonzero(cure.labels != cure.given)}


def _like(y: Any, values: np.ndarray) -> Any:
    """Numbers of shape (n,) or (n, K) as the kind of column that labels are."""
    if isinstance(y, Tensor):
        return torch.from_numpy(values).to(y.device)
    if not (is_frame(y) or is_series(y)):
        return values
    frame = y if is_frame(y) else y.to_frame()
    column = type(frame)(values, index=y.index)
    return column if values.ndim == 2 else column.iloc[:, 0].rename(WEIGHT)


def _labels_of_classes(
    cure: Cure, samples: Samples, label: str | None, class_names: Sequence[str] | None
) -> dict[int, Any]:
    """Class number to label as the data set has it, read from a sample of each class."""
    rows = samples.raw
    label = label or (samples.dataset.label if rows is not samples else None)
    classes, examples = np.unique(cure.given, return_index=True)
    found = {
        int(number): label_of(rows.sample(int(example)), label)
        for number, example in zip(classes, examples, strict=True)
    }
    words = any(isinstance(value, str) for value in found.values())
    for number in map(int, np.unique(cure.labels).tolist()):  # type: ignore[arg-type]  # it relabels
        if number in found:
            continue
        if words and (class_names is None or number >= len(class_names)):
            raise DataError(
                f"the cure gives the class {number}, which no sample has, and labels are words: name the classes with "
                "class_names=[...]"
            )
        found[number] = class_names[number] if words and class_names is not None else number
    return found
