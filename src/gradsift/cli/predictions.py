"""``gradsift audit --predictions``: an audit of what a model of any framework predicts, from files."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradsift.audit import audit_predictions
from gradsift.cli.source import Source
from gradsift.data import LABEL_KEYS
from gradsift.data.files import label_name, load_column
from gradsift.data.records import NpzFile, Table, open_records
from gradsift.errors import DataError
from gradsift.locations import Location, as_location, local_copy
from gradsift.progress import announce
from gradsift.result import Audit
from gradsift.settings import AuditSettings

ARRAYS = ("probabilities", "logits", "features")
"""Names of the arrays in a file of predictions."""
NAMED = 10
"""Most classes that are named in a message."""


def audit_files(source: Source, settings: AuditSettings, output: str | Location, overwrite: bool) -> Audit:
    """Audits a file of predictions for the samples of a data file.

    Args:
        source: Names both files, and the column of labels.
        settings: Settings.
        output: Run directory.
        overwrite: Whether a whole one may be replaced.

    Returns:
        The audit.

    Raises:
        DataError: A file cannot be read, or both are not of the same samples.
    """
    predictions, names = read_predictions(str(source.predictions))
    options = {name: value for name, value in settings.to_dict().items() if value is not None}
    labels = load_column(source.data, label_name(column_names(source.data), source.label, as_location(source.data)))
    if names is None and labels.dtype.kind in "OUS":
        words = sorted({str(label) for label in labels})
        announce(
            f"Columns of {source.predictions} are read in the order of the sorted labels: {', '.join(words[:NAMED])}"
            f"{', ...' if len(words) > NAMED else ''}. Where theirs is another one, add an array class_names."
        )
    loaded = source.load_data()
    return audit_predictions(
        labels,
        **predictions,
        data=loaded.dataset,
        test_set=source.load_test(loaded),
        out_of_fold=source.out_of_fold,
        class_names=names,
        groups=load_column(source.data, source.groups) if source.groups else None,
        output=output,
        overwrite=overwrite,
        source=source.to_dict(),
        **options,
    )


def column_names(path: str) -> list[str]:
    """Names of the columns or arrays of a file.

    Args:
        path: The file.

    Returns:
        The names.

    Raises:
        DataError: It is a folder of images, which has none.
    """
    records = open_records(path)
    if isinstance(records, NpzFile):
        return list(records.arrays)
    if isinstance(records, Table):
        return records.names
    raise DataError(f"{path} is a folder of images: give a file with a column of labels beside the predictions")


def read_predictions(path: str) -> tuple[dict[str, Any], list[str] | None]:
    """Reads predictions.

    Args:
        path: ``.npz`` with ``probabilities`` or ``logits`` and, if there are any, ``features`` and ``class_names``;
            ``.npy`` with probabilities; or a table with one column of numbers for each class; columns named id,
            or like labels, are passed over.

    Returns:
        Arrays by their names, and the names of the classes where the file has them.

    Raises:
        DataError: It holds something else.
    """
    if as_location(path).suffix.lower() == ".npy":
        return {"probabilities": read_array(path)}, None
    records = open_records(path)
    if isinstance(records, NpzFile):
        arrays = {name: load_column(path, name) for name in ARRAYS if name in records.arrays}
        if not arrays.keys() & {"probabilities", "logits"}:
            raise DataError(
                f"{path} holds the arrays {', '.join(records.arrays)}: name them probabilities or logits, and features"
            )
        named = "class_names" in records.arrays
        return arrays, [str(name) for name in load_column(path, "class_names")] if named else None
    if not isinstance(records, Table):
        raise DataError(f"{path} holds no predictions: give .npz, .npy, or a table with one column a class")
    columns = [name for name in records.names if name.lower() not in ("id", *LABEL_KEYS)]
    values = [load_column(path, name) for name in columns]
    words = [name for name, column in zip(columns, values, strict=True) if column.dtype.kind not in "biuf"]
    if words:
        raise DataError(f"{path}: the columns {', '.join(words[:5])} hold no numbers; one column a class is needed")
    return {"probabilities": np.stack(values, axis=1)}, columns


def read_array(path: str) -> np.ndarray:
    """Reads one array.

    Args:
        path: ``.npy``, a path or a URL.

    Returns:
        The array.

    Raises:
        DataError: The file is missing, damaged or of another kind.
    """
    try:
        array = np.load(local_copy(as_location(path)), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is no readable array ({error}): save it with numpy.save") from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path} holds several arrays: save one as .npy with numpy.save")
    return array
