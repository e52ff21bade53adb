"""Data sets from files: arrays of features and labels, or images."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gradsift.data.batch import LABEL_KEYS, PREFIX
from gradsift.data.images import ImageBytes, ImageFolder, Transform
from gradsift.data.labels import encode_labels
from gradsift.data.records import CsvFile, FileRows, ImageFiles, NpzFile, Table, open_records, stored
from gradsift.errors import DataError
from gradsift.locations import Location, as_location

logger = logging.getLogger(__name__)

NO_FEATURES = ("id", "true_label")
"""Columns that are never taken for features, nor those that gradsift adds."""


@dataclass(frozen=True)
class Loaded:
    """A data set read from a file.

    Attributes:
        dataset: Arrays ``(X, y)``, or a map-style data set of images.
        class_names: Names of the classes, where labels were words or folders.
        feature_names: Names of the feature columns, where there are any.
        left_out: Names of the columns that hold no numbers and so are no features.
    """

    dataset: Any
    class_names: list[str] | None = None
    feature_names: list[str] | None = None
    left_out: list[str] = field(default_factory=list)


def load(
    path: str | Location,
    *,
    label: str | None = None,
    image: str | None = None,
    transform: Transform | None = None,
    ignore: Sequence[str] = (),
    like: Loaded | None = None,
    token_ids: bool = False,
) -> Loaded:
    """Reads a data set. Memory does not grow with the features and images of a file: large ones are read when needed.

    Args:
        path: ``.npz`` with arrays, ``.csv``, ``.tsv``, ``.parquet``, ``.jsonl``, or a folder with one subfolder of images
            for each class.
        label: Name of the label column or array; found by itself among label, labels, y, target, targets.
        image: Name of the column of image bytes; found by itself where a column holds bytes.
        transform: From a Pillow image to a tensor; RGB in [0, 1], channels first, where left out.
        ignore: Columns that are no features, beside ``id`` and ``true_label``.
        like: A data set read before, whose numbers of classes and order of features this one must follow.
        token_ids: Whether an array of whole numbers holds ids of tokens, which stay whole numbers.

    Returns:
        The data set. Labels that are words become class numbers in alphabetical order, or those of ``like``.

    Raises:
        DataError: The file is missing, of an unknown kind, or lacks a column or values.
        UnsafeFileError: The file is a pickle.
    """
    records = open_records(path)
    if isinstance(records, ImageFiles):
        folder = ImageFolder(records.path, transform, like.class_names if like else None)
        return Loaded(folder, folder.classes)
    names = like.class_names if like else None
    if isinstance(records, NpzFile):
        return _from_arrays(records, label, ignore, names, token_ids)
    if not isinstance(records, Table):
        raise DataError(f"{path} has no columns: give a .npz, .csv, .parquet or .jsonl file")
    key = label_name(records.names, label, records.path)
    labels, class_names = encode_labels(_labels(records, key), names, f"{path}: column {key!r}")
    image = image or next((column.name for column in records.schema if _holds_bytes(column.type)), None)
    if image is None:
        return _features(records, key, labels, class_names, ignore, like)
    if image not in records.names:
        raise DataError(f"{path} has no column {image!r}: its columns are {', '.join(records.names)}")
    return Loaded(ImageBytes(FileRows(records, [image]), image, labels, class_names, transform), class_names)


def write_kept(source: str | Location, kept: np.ndarray, output: str | Location, size: int) -> None:
    """Writes the samples of a file that are kept, with all their columns and as they stand, as a new file of its kind.

    Args:
        source: The file or folder that was audited; it is left as it is.
        kept: Positions to keep; the order stays that of the source.
        output: The new file or folder.
        size: Number of samples that were audited; in an ``.npz`` file, arrays of this length are trimmed and others kept
            whole.

    Raises:
        DataError: The output lies inside the source, is of another kind, or the source holds another number of samples.
        OutputError: The output exists, or cannot be written.
    """
    keep = np.zeros(size, dtype=bool)
    keep[kept] = True
    open_records(source).write(keep, as_location(output))


def load_column(path: str | Location, name: str) -> np.ndarray:
    """Reads one column of a file as it stands.

    Args:
        path: ``.npz``, ``.csv``, ``.parquet`` or ``.jsonl``.
        name: The column or array.

    Returns:
        Shape (n,).

    Raises:
        DataError: There is no such column.
    """
    records = open_records(path)
    if isinstance(records, NpzFile):
        return records.read(name)
    if isinstance(records, Table):
        return np.asarray(records.read([name])[name].to_numpy())
    raise DataError(f"{path} has no column {name!r}: it is a folder of images")


def _from_arrays(
    records: NpzFile, label: str | None, ignore: Sequence[str], names: list[str] | None, token_ids: bool
) -> Loaded:
    path = records.path
    key = label_name(list(records.arrays), label, path)
    inputs = [name for name in records.arrays if name != key and not _is_no_feature(name, ignore)]
    if len(inputs) != 1 and "x" not in (name.lower() for name in inputs):
        raise DataError(f"{path} holds the arrays {inputs} besides {key!r}: name the inputs x")
    name = inputs[0] if len(inputs) == 1 else next(name for name in inputs if name.lower() == "x")
    array = records.arrays[name]
    labels, class_names = encode_labels(records.read(key), names, f"{path}: array {key!r}")
    if array.shape[:1] != labels.shape[:1]:
        raise DataError(
            f"{path}: the array {name!r} has shape {array.shape} and {key!r} has {labels.shape}: both need one row a sample"
        )
    if array.dtype.kind in ("fb" if token_ids else "fiub"):
        features = stored((block.astype(np.float32) for block in records.blocks(name)), array.shape)
    else:
        features = records.read(name)
    return Loaded((features, labels), class_names)


def _is_no_feature(name: str, ignore: Sequence[str]) -> bool:
    return name in (*NO_FEATURES, *ignore) or name.startswith(PREFIX)


def _labels(records: Table, key: str) -> pa.ChunkedArray:
    """The labels, of which none is missing."""
    if key in records.nested:
        raise DataError(
            f"{records.path} has lists or objects in the label column {key!r}: give one number or word a row"
        )
    labels = records.read([key])[key]
    missing = labels.is_null()
    if isinstance(records, CsvFile) and pa.types.is_string(labels.type):
        missing = pc.or_(missing, pc.equal(pc.fill_null(labels, ""), ""))
    places = np.flatnonzero(missing.to_numpy())
    if len(places):
        raise DataError(
            f"{records.path} has no label in column {key!r} at positions {_first(places)}: give them one, or remove "
            "the rows"
        )
    return labels


def _features(
    records: Table,
    key: str,
    labels: np.ndarray,
    class_names: list[str] | None,
    ignore: Sequence[str],
    like: Loaded | None,
) -> Loaded:
    path = records.path
    candidates = [column for column in records.schema if column.name != key and not _is_no_feature(column.name, ignore)]
    numeric = [column.name for column in candidates if is_number(column.type)]
    if like is not None and like.feature_names is not None:
        missing = sorted(set(like.feature_names) - set(records.names))
        if missing:
            raise DataError(f"{path} lacks the feature columns {', '.join(missing)} of the training set")
        words = [name for name in like.feature_names if not is_number(records.schema.field(name).type)]
        if words:
            raise DataError(
                f"{path}: the feature columns {', '.join(words)} hold no numbers, in the training set they do"
            )
        numeric = like.feature_names
    left_out = [column.name for column in candidates if column.name not in numeric]
    if isinstance(records, CsvFile) and like is None:
        records.refuse_decimal_commas(
            [name for name in left_out if pa.types.is_string(records.schema.field(name).type)]
        )
    if not numeric:
        raise DataError(f"{path} has no numeric column besides {key!r}: columns of text need a loader of your own")
    if left_out and like is None:
        logger.warning("%s", left_out_note(str(path), {name: records.schema.field(name).type for name in left_out}))
    features = stored(_blocks(records, numeric), (len(records), len(numeric)))
    return Loaded((features, labels), class_names, numeric, left_out)


def left_out_note(path: str, columns: dict[str, pa.DataType]) -> str:
    """Names the columns that are no features.

    Args:
        path: The file.
        columns: Name to type.

    Returns:
        A sentence.
    """
    listed = ", ".join(f"{name} ({kind})" for name, kind in list(columns.items())[:20])
    more = f" and {len(columns) - 20} more" if len(columns) > 20 else ""
    return (
        f"{path}: these columns hold no numbers and are no features: {listed}{more}. Write them as numbers to use them "
        "(true and false as 1 and 0)"
    )


def is_number(kind: pa.DataType) -> bool:
    """Whether a column can be a feature as it is.

    Args:
        kind: Its type.

    Returns:
        True for whole, floating and decimal numbers.
    """
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _blocks(records: Table, names: list[str]) -> Iterator[np.ndarray]:
    """Features in float32, piece by piece."""
    start = 0
    for batch in records.batches(names):
        yield as_features(batch, start, str(records.path))
        start += len(batch)


def as_features(batch: pa.RecordBatch, start: int, source: str) -> np.ndarray:
    """Columns of numbers side by side.

    Args:
        batch: Consecutive rows, numeric columns alone.
        start: Position of the first row.
        source: What they come from, for the message.

    Returns:
        Float32 of shape (rows, columns).

    Raises:
        DataError: A value is missing or not a number.
    """
    features = np.empty((len(batch), batch.num_columns), dtype=np.float32)
    for place, column in enumerate(batch.columns):
        features[:, place] = column.to_numpy(zero_copy_only=False)
    empty = np.isnan(features)
    if empty.any():
        place = int(np.flatnonzero(empty.any(axis=0))[0])
        name, rows = batch.schema.names[place], start + np.flatnonzero(empty[:, place])
        raise DataError(
            f"{source} has empty or NaN values in the feature column {name!r} at positions {_first(rows)}: fill them, "
            f"remove the rows, or leave the column out (--ignore {name})"
        )
    return features


def label_name(names: Sequence[str], label: str | None, path: Location) -> str:
    """The column of labels.

    Args:
        names: Names of all columns.
        label: What the user says; the only one with a usual name where ``None``.
        path: The file, for the message.

    Returns:
        Its name.

    Raises:
        DataError: There is no such column, or none or several have a usual name.
    """
    if label is not None:
        if label not in names:
            raise DataError(f"{path} has no column {label!r}: its columns are {', '.join(names)}")
        return label
    found = [name for name in names if name.lower() in LABEL_KEYS]
    if len(found) != 1:
        raise DataError(f"{path} has the columns {', '.join(names)}: say which holds the labels with --label")
    return found[0]


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _first(positions: np.ndarray) -> str:
    """The first ten positions as text."""
    more = f" and {len(positions) - 10} more" if len(positions) > 10 else ""
    return ", ".join(map(str, positions[:10])) + more
