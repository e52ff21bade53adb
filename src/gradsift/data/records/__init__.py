"""Readers of files and folders that serve audits and trims alike: one file a format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gradsift.data.records.access import stored
from gradsift.data.records.base import Records, Table
from gradsift.data.records.csv import CsvFile
from gradsift.data.records.folder import ImageFiles
from gradsift.data.records.jsonl import JsonLinesFile
from gradsift.data.records.npz import NpzFile
from gradsift.data.records.parquet import ParquetFile
from gradsift.data.records.parquet_parts import ParquetParts
from gradsift.data.records.parts import parts_of
from gradsift.data.records.rows import FileRows
from gradsift.data.records.tar_shards import TarShards
from gradsift.errors import DataError, UnsafeFileError
from gradsift.locations import Location, as_location, local_copy

FORMATS: dict[str, Callable[[Path], Records]] = {
    ".parquet": ParquetFile,
    ".csv": CsvFile,
    ".tsv": CsvFile,
    ".jsonl": JsonLinesFile,
    ".ndjson": JsonLinesFile,
    ".npz": NpzFile,
}
"""Ending of a file to its reader."""
PICKLES = (".pkl", ".pickle", ".pt", ".pth")
PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
KINDS = ".parquet, .csv, .tsv, .jsonl or .npz file"

__all__ = [
    "FORMATS", "PICKLES", "CsvFile", "FileRows", "ImageFiles", "JsonLinesFile", "NpzFile", "ParquetFile", "Records",
    "Table", "open_records", "open_table", "stored",
]  # fmt: skip


def open_records(path: str | Location) -> Records:
    """Opens a file or folder of samples.

    Args:
        path: ``.parquet``, ``.csv``, ``.tsv``, ``.jsonl``, ``.ndjson``, ``.npz``; a folder with one subfolder of images
            for each class; a folder or pattern of ``.parquet`` files or of ``.tar`` shards; a path or a URL.

    Returns:
        Its reader.

    Raises:
        DataError: The file is missing, empty, broken, or of another kind.
        UnsafeFileError: The file is a pickle.
    """
    path = as_location(path)
    if any("\ud800" <= letter <= "\udfff" for letter in str(path)):
        raise DataError(f"the name {str(path)!a} is no valid text (UTF-8): rename the file or folder")
    parts = parts_of(path)
    if parts:
        return _refuse_empty(_parts(path, parts))
    if path.is_dir():
        folder = ImageFiles(local_copy(path))
        folder.origin = path
        return folder
    ending = path.suffix.lower()
    if not path.exists():
        raise DataError(f"{path} does not exist: give a {KINDS}, or a folder of images")
    if not path.is_file():
        raise DataError(f"{path} is a pipe, a socket or a device: give a {KINDS}, or a folder of images")
    if ending in PICKLES:
        raise UnsafeFileError(f"{path} is a pickle, which can run code when loaded: convert it to .parquet or .npz")
    if ending in PACKED:
        raise DataError(f"{path} is packed: unpack it first, such as with gunzip or unzip, and give the {KINDS} in it")
    if ending not in FORMATS:
        raise DataError(f"{path} is of an unknown kind {path.suffix!r}: give a {KINDS}, or a folder of images")
    with _reading(path):
        records = ParquetFile(path) if ending == ".parquet" else FORMATS[ending](local_copy(path))
    records.origin = path
    return _refuse_empty(records)


def _refuse_empty(records: Records) -> Records:
    if len(records) == 0:
        raise DataError(f"{records.origin} holds no records: there is no sample to audit")
    return records


def _parts(path: Location, files: list[Location]) -> Table:
    with _reading(path):
        return (TarShards if files[0].suffix.lower() == ".tar" else ParquetParts)(path, files)


@contextmanager
def _reading(path: Location) -> Iterator[None]:
    """Turns the system's errors on reading into one that says what to do."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}): check its permissions") from error


def open_table(path: str | Location) -> Table:
    """Opens a file of records with named columns.

    Args:
        path: ``.parquet``, ``.csv``, ``.tsv`` or ``.jsonl``.

    Returns:
        Its reader.

    Raises:
        DataError: The file is missing, empty, broken, or of another kind.
        UnsafeFileError: The file is a pickle.
    """
    records = open_records(path)
    if not isinstance(records, Table):
        raise DataError(f"{path} is of an unknown kind for rows: give a .parquet, .csv, .tsv or .jsonl file")
    return records
