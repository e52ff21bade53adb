"""Tables from files: csv, parquet and JSON lines."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from gradsift.errors import DataError, UnsafeFileError

JSON_LINES = (".jsonl", ".ndjson")
"""Endings of files with one JSON object a line."""
PICKLES = (".pkl", ".pickle", ".pt", ".pth")
SUFFIXES = (".csv", ".parquet", *JSON_LINES, *PICKLES)
"""Endings of tables, and of what is refused as one."""


def read_table(path: str | Path) -> pa.Table:
    """Reads a table with all its columns.

    Args:
        path: ``.csv``, ``.parquet`` or ``.jsonl``.

    Returns:
        The table, in the order of the file.

    Raises:
        DataError: The file is missing, broken, or of another kind.
        UnsafeFileError: The file is a pickle.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} does not exist: give a .parquet, .csv or .jsonl file")
    if path.suffix in PICKLES:
        raise UnsafeFileError(f"{path} is a pickle, which can run code when loaded: convert it to .parquet or .jsonl")
    readers = {".csv": read_csv, ".parquet": pq.read_table} | dict.fromkeys(JSON_LINES, pa_json.read_json)
    if path.suffix not in readers:
        raise DataError(f"{path} is of an unknown kind {path.suffix!r}: give a .parquet, .csv or .jsonl file")
    try:
        table = readers[path.suffix](path)
        _ = table.column_names  # names that are no UTF-8 show here
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no readable {path.suffix[1:]} file ({error})") from error
    return table


def read_csv(path: str | Path, column_types: dict[str, pa.DataType] | None = None) -> pa.Table:
    """Reads a csv file, whose texts may run over several lines.

    Args:
        path: The file.
        column_types: Column to type, where it is not to be guessed.

    Returns:
        The table.
    """
    return pa_csv.read_csv(
        path,
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(column_types=column_types),
    )


def rows_of_lines(path: str | Path) -> list[str]:
    """The lines of a file of JSON lines that hold a row.

    Args:
        path: The file.

    Returns:
        One string a row, as it stands.
    """
    return [line for line in Path(path).read_text(encoding="utf-8").split("\n") if line.strip()]
