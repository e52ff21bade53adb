"""Rows for a model's tokenizer or processor, from a file, a folder of images, or a hub id."""

from __future__ import annotations

from typing import Any

from gradsift.data.records import FORMATS, PICKLES, FileRows, Table, open_records, open_table
from gradsift.data.records.parts import has_pattern
from gradsift.errors import DataError, SettingError
from gradsift.integrations.images import FolderRows
from gradsift.locations import Location, RemotePath, as_location, local_copy


def load_rows(source: str | Location, label: str | None = None) -> Any:
    """Reads rows with named columns.

    Args:
        source: A ``.parquet``, ``.csv``, ``.tsv`` or ``.jsonl`` file, a folder with one subfolder of images for each class,
            or a hub id, whose split named train is taken.
        label: The column of labels of a file, where it has no usual name.

    Returns:
        Rows of the file, which are read when they are needed, rows of images, or a ``datasets.Dataset``.

    Raises:
        DataError: There is no such file and no such data set.
        SettingError: A hub id needs the library ``datasets``.
    """
    path = as_location(source)
    if path.is_dir() or has_pattern(path):
        records = open_records(path)
        return FileRows(records, label=label) if isinstance(records, Table) else FolderRows(local_copy(path))
    if (
        isinstance(path, RemotePath)
        or path.suffix.lower() in (*FORMATS, *PICKLES)
        or path.exists()
        or str(source).startswith((".", "/", "~"))
    ):
        return FileRows(open_table(path), label=label)  # anything else may be a hub id, which may hold a full stop
    try:
        import datasets
    except ImportError as error:
        raise SettingError("data sets by hub id need the library datasets: pip install 'gradsift[hf]'") from error
    try:
        return datasets.load_dataset(str(source), split="train")
    except Exception as error:
        raise DataError(
            f"{source} is no file, and cannot be loaded as a data set of the hub: {str(error).partition(chr(10))[0]}"
        ) from error
