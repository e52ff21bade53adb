"""Data sets from files: npz, parquet (columns or image bytes), csv, and folders of images."""

from __future__ import annotations

import shutil
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from gradsift.data.batch import LABEL_KEYS
from gradsift.data.images import ImageBytes, ImageFolder, Transform, image_files
from gradsift.data.tables import JSON_LINES, read_csv, read_table, rows_of_lines
from gradsift.errors import DataError, UnsafeFileError

NO_FEATURES = ("id", "true_label")
"""Columns that are never taken for features."""


@dataclass(frozen=True)
class Loaded:
    """A data set read from a file.

    Attributes:
        dataset: Arrays ``(X, y)``, or a map-style data set of images.
        class_names: Names of the classes, where labels were words or folders.
        feature_names: Names of the feature columns, where there are any.
    """

    dataset: Any
    class_names: list[str] | None = None
    feature_names: list[str] | None = None


def load(
    path: str | Path,
    *,
    label: str | None = None,
    image: str | None = None,
    transform: Transform | None = None,
    ignore: Sequence[str] = (),
    like: Loaded | None = None,
) -> Loaded:
    """Reads a data set.

    Args:
        path: ``.npz`` with arrays, ``.csv``, ``.parquet``, or a folder with one subfolder of images for each class.
        label: Name of the label column or array; found by itself among label, labels, y, target, targets.
        image: Name of the column of image bytes; found by itself where a column holds bytes.
        transform: From a Pillow image to a tensor; RGB in [0, 1], channels first, where left out.
        ignore: Columns that are no features, beside ``id`` and ``true_label``.
        like: A data set read before, whose numbers of classes and order of features this one must follow.

    Returns:
        The data set. Labels that are words become class numbers in alphabetical order, or those of ``like``.

    Raises:
        DataError: The file is missing, of an unknown kind, or lacks a column.
        UnsafeFileError: The file is a pickle.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path} does not exist: give a .npz, .csv or .parquet file, or a folder of images")
    if path.is_dir():
        dataset = ImageFolder(path, transform, like.class_names if like else None)
        return Loaded(dataset, dataset.classes)
    if path.suffix in (".pkl", ".pickle", ".pt", ".pth"):
        raise UnsafeFileError(f"{path} is a pickle, which can run code when loaded: convert it to .npz or .parquet")
    if path.suffix == ".npz":
        return _load_npz(path, label, ignore, like)
    if path.suffix in (".csv", ".parquet", *JSON_LINES):
        return _from_table(read_table(path), path, label, image, transform, ignore, like)
    raise DataError(f"{path} is of an unknown kind {path.suffix!r}: give .npz, .csv, .parquet or a folder of images")


def write_kept(source: str | Path, kept: np.ndarray, output: str | Path, size: int | None = None) -> None:
    """Writes the samples of a file that are kept, with all their columns, as a new file of the same kind.

    Args:
        source: The file or folder that was audited; it is left as it is.
        kept: Positions to keep, in order.
        output: The new file or folder.
        size: Number of samples in the source; in an ``.npz`` file, arrays of this length are trimmed and others kept
            whole. The longest array's length where left out.

    Raises:
        DataError: The output exists, lies inside the source, or is of another kind than the source.
    """
    source, output = Path(source), Path(output)
    if not source.exists():
        raise DataError(f"{source} does not exist")
    if output.exists():
        raise DataError(f"{output} exists: trim never overwrites, choose another name")
    if source.is_dir():
        if source.resolve() in output.resolve().parents:
            raise DataError(f"{output} lies inside {source} and would become one of its classes: choose another place")
        files = image_files(source)[0]
        for position in kept:
            place = output / files[position].relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(files[position], place)
        return
    if output.suffix != source.suffix:
        raise DataError(f"{output.name} must be of the kind that came in: name it *{source.suffix}")
    output.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix == ".npz":
        arrays = _read_npz(source)
        size = size or max(len(array) for array in arrays.values() if array.ndim)
        whole = {name: array[kept] if array.ndim and len(array) == size else array for name, array in arrays.items()}
        np.savez(output, **whole)  # type: ignore[arg-type]  # names are no keywords of savez
    elif source.suffix == ".csv":
        words = read_csv(source, dict.fromkeys(read_table(source).column_names, pa.string()))  # "007" stays "007"
        pa_csv.write_csv(words.take(pa.array(kept)), output)
    elif source.suffix in JSON_LINES:
        lines = rows_of_lines(source)
        output.write_text("".join(lines[position] + "\n" for position in kept), encoding="utf-8")
    else:
        pq.write_table(read_table(source).take(pa.array(kept)), output)


def load_column(path: str | Path, name: str) -> np.ndarray:
    """Reads one column of a file as it stands.

    Args:
        path: ``.npz``, ``.csv``, ``.parquet`` or ``.jsonl``.
        name: The column or array.

    Returns:
        Shape (n,).

    Raises:
        DataError: There is no such column.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path} does not exist: give a .npz, .csv or .parquet file")
    if path.suffix == ".npz":
        columns = _read_npz(path)
    elif path.suffix in (".csv", ".parquet", *JSON_LINES):
        table = read_table(path)
        columns = {key: table[key].to_numpy() for key in table.column_names if key == name}
    else:
        columns = {}
    if name not in columns:
        raise DataError(f"{path} has no column {name!r}")
    return columns[name]


def _load_npz(path: Path, label: str | None, ignore: Sequence[str], like: Loaded | None) -> Loaded:
    arrays = _read_npz(path)
    name = _label_name(list(arrays), label, path)
    inputs = [key for key in arrays if key != name and key not in (*NO_FEATURES, *ignore)]
    if len(inputs) != 1 and "x" not in (key.lower() for key in inputs):
        raise DataError(f"{path} holds the arrays {inputs} besides {name!r}: name the inputs x")
    key = inputs[0] if len(inputs) == 1 else next(key for key in inputs if key.lower() == "x")
    labels, names = _encode(arrays[name], like.class_names if like else None, path)
    features = arrays[key].astype(np.float32) if arrays[key].dtype.kind in "fiub" else arrays[key]
    return Loaded((features, labels), names)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DataError(f"{path} holds a single array: save inputs and labels with np.savez")
        with archive:
            return {name: archive[name] for name in archive.files}
    except DataError:
        raise
    except ValueError as error:
        raise UnsafeFileError(f"{path} holds pickled objects ({error}): save plain arrays only") from error
    except (OSError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is no readable npz file ({error})") from error


def _from_table(
    table: pa.Table,
    path: Path,
    label: str | None,
    image: str | None,
    transform: Transform | None,
    ignore: Sequence[str],
    like: Loaded | None,
) -> Loaded:
    name = _label_name(table.column_names, label, path)
    missing = np.flatnonzero(table[name].is_null().to_numpy())
    if len(missing):
        raise DataError(f"{path} has no label in column {name!r} at positions {', '.join(map(str, missing[:10]))}")
    try:
        labels, names = _encode(table[name].to_numpy(), like.class_names if like else None, path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: the labels in column {name!r} are no text ({error})") from error
    if image is None:
        image = next((field.name for field in table.schema if _holds_bytes(field.type)), None)
    if image is not None:
        if image not in table.column_names:
            raise DataError(f"{path} has no column {image!r}: its columns are {', '.join(table.column_names)}")
        dataset = ImageBytes(table[image], labels, names, transform)
        return Loaded(dataset, names)
    numeric = [
        field.name
        for field in table.schema
        if field.name not in (name, *NO_FEATURES, *ignore)
        and (pa.types.is_integer(field.type) or pa.types.is_floating(field.type))
    ]
    if like is not None and like.feature_names is not None:
        missing_columns = sorted(set(like.feature_names) - set(table.column_names))
        if missing_columns:
            raise DataError(f"{path} lacks the feature columns {', '.join(missing_columns)} of the training set")
        numeric = like.feature_names
    if not numeric:
        raise DataError(f"{path} has no numeric column besides {name!r}: columns of text need a loader of your own")
    features = np.stack([table[column].to_numpy().astype(np.float32) for column in numeric], axis=1)
    return Loaded((features, labels), names, numeric)


def _label_name(names: Sequence[str], label: str | None, path: Path) -> str:
    if label is not None:
        if label not in names:
            raise DataError(f"{path} has no column {label!r}: its columns are {', '.join(names)}")
        return label
    found = [name for name in names if name.lower() in LABEL_KEYS]
    if len(found) != 1:
        raise DataError(f"{path} has the columns {', '.join(names)}: say which holds the labels with --label")
    return found[0]


def _encode(labels: np.ndarray, names: list[str] | None, path: Path) -> tuple[np.ndarray, list[str] | None]:
    """Words as class numbers with their names, those given if any; numbers as they are."""
    if labels.dtype.kind in "OUS":
        words = labels.astype(str)
        if names is None:
            found, codes = np.unique(words, return_inverse=True)
            return codes.astype(np.int64), found.tolist()
        places = {name: place for place, name in enumerate(names)}
        unknown = sorted(set(words.tolist()) - places.keys())
        if unknown:
            raise DataError(f"{path} has the labels {', '.join(unknown[:5])}, which the training set has not")
        return np.asarray([places[word] for word in words.tolist()], dtype=np.int64), names
    if labels.dtype.kind in "iub":
        return labels.astype(np.int64), None
    return labels.astype(np.float32), None


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
