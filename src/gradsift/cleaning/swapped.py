"""Pairs that are turned around: chosen and rejected change places, in a data set or in a file."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from gradsift.cleaning.cure import Cure
from gradsift.data.batch import PREFIX
from gradsift.data.frames import is_frame
from gradsift.data.records import CsvFile, JsonLinesFile, ParquetFile, open_records
from gradsift.data.samples import is_splits, loader_over, one_split, rows_of, with_split
from gradsift.errors import DataError
from gradsift.locations import Location, as_location
from gradsift.writing import new_file

SWAPPED = PREFIX + "swapped"
"""Column that says which pairs were turned around."""


def swapped(train_set: Any, cure: Cure) -> Any:
    """A data set of pairs in which those that the cure relabels are turned around.

    Whatever belongs to one of the two answers goes with it: of each two columns whose names differ in the answer alone,
    such as ``ref_chosen_logps`` and ``ref_rejected_logps``, the values change places.

    Args:
        train_set: Rows with columns: a ``datasets.Dataset``, ``pyarrow.Table``, data frame, list of dicts, dict of arrays,
            or a :class:`~gradsift.PairSet` of any of these.
        cure: The cure, with new labels and the names of the two columns.

    Returns:
        The same kind of data set, with a column ``gradsift_swapped``; the original is left as it is.

    Raises:
        DataError: There are no such columns, or they cannot be exchanged.
    """
    if is_splits(train_set):
        return with_split(train_set, swapped(one_split(train_set), cure))
    if rows_of(train_set) is not train_set:
        return train_set.with_rows(swapped(train_set.raw, cure))
    if isinstance(train_set, DataLoader):
        return loader_over(train_set, swapped(train_set.dataset, cure))
    which = turned(cure)
    if isinstance(train_set, pa.Table):
        return _of_table(train_set, which, cure)
    if isinstance(train_set, dict):
        return _of_arrays(train_set, which, cure)
    if is_frame(train_set):
        names = _names(train_set.columns, cure)
        columns = {name: train_set[name].where(~which, train_set[other]) for name, other in names.items()}
        return train_set.assign(**columns, **{SWAPPED: which})
    if isinstance(train_set, list) and train_set and isinstance(train_set[0], Mapping):
        return list(_of_rows(train_set, which, cure))
    if hasattr(train_set, "with_format") and hasattr(train_set, "features"):
        import datasets

        table = _of_table(train_set.with_format("arrow")[:], which, cure)
        features = datasets.Features({**train_set.features, SWAPPED: datasets.Value("bool")})
        return datasets.Dataset(table).cast(features).with_format(train_set.format["type"])
    raise DataError(
        f"pairs are turned around in rows with columns, given a {type(train_set).__name__}: give a datasets.Dataset, a "
        "table, a list of dicts or a dict of arrays, or use 'drop'"
    )


def write_swapped(source: str | Location, cure: Cure, output: str | Location) -> None:
    """Writes a file of pairs with some of them turned around, without those that are dropped.

    Args:
        source: A .parquet, .jsonl, .csv or .tsv file; it is left as it is.
        cure: The cure, with new labels and the names of the two columns.
        output: The new file, of the same kind.

    Raises:
        DataError: The source is of another kind, or lacks the columns; or the output is of another kind.
        OutputError: The output exists, or cannot be written.
    """
    records, place, which = open_records(source), as_location(output), turned(cure)
    if place.suffix.lower() != records.path.suffix.lower():
        raise DataError(f"{place.name} must be of the kind that came in: name it *{records.path.suffix}")
    if not isinstance(records, ParquetFile | JsonLinesFile | CsvFile) or len(records) != len(cure):
        raise DataError(
            f"{source} is no single .parquet, .jsonl or .csv file of {len(cure):,} pairs: turn pairs around in Python "
            "(gradsift.correct), or use 'drop'"
        )
    kept = np.zeros(len(cure), dtype=bool)
    kept[cure.kept] = True
    with new_file(place) as aside:
        if isinstance(records, ParquetFile):
            _write_parquet(records, aside, which, kept, cure)
            return
        rows = _of_rows(_rows(records), which, cure)
        chosen = (row for row, stays in zip(rows, kept, strict=True) if stays)
        if isinstance(records, JsonLinesFile):
            with aside.open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in chosen)
        else:
            with aside.open("w", encoding="utf-8", newline="") as file:
                separator = "\t" if place.suffix.lower() == ".tsv" else ","
                writer = csv.DictWriter(file, [*records.names, SWAPPED], delimiter=separator)
                writer.writeheader()
                writer.writerows(chosen)


def turned(cure: Cure) -> np.ndarray:
    """Which pairs a cure turns around.

    Args:
        cure: The cure.

    Returns:
        Shape (n,), boolean.
    """
    return np.zeros(len(cure), dtype=bool) if cure.labels is None else cure.labels != cure.given


def _names(names: Iterable[Any], cure: Cure) -> dict[str, str]:
    """Each column that belongs to an answer, and the one that it changes places with."""
    chosen, rejected = cure.pairs or ("chosen", "rejected")
    known, other_name = {str(name) for name in names}, dict[str, str]()
    for name in known:
        other = re.sub(rf"(?<![^\W_]){re.escape(chosen)}(?![^\W_])", lambda _: rejected, name)
        if other != name and other in known:
            other_name |= {name: other, other: name}
    if not other_name:
        raise DataError(f"no columns {chosen!r} and {rejected!r}: the columns are {', '.join(sorted(known))}")
    return other_name


def _of_table(table: pa.Table, which: np.ndarray, cure: Cure) -> pa.Table:
    new, places = table, pa.array(np.arange(len(which)) + len(which) * which)
    for name, other in _names(table.column_names, cure).items():
        field, place = table.schema.field(name), table.schema.get_field_index(name)
        both = pa.chunked_array([*table[name].chunks, *table[other].cast(field.type).chunks], field.type)
        new = new.set_column(place, field, both.take(places))
    new = new.drop_columns([SWAPPED]) if SWAPPED in new.column_names else new
    return new.append_column(SWAPPED, pa.array(which))


def _of_rows(rows: Iterable[Mapping[str, Any]], which: np.ndarray, cure: Cure) -> Iterator[dict[str, Any]]:
    names: dict[str, str] = {}
    for row, turn in zip(rows, which.tolist(), strict=True):
        names = names or _names(row, cure)
        yield {**row, **({name: row[other] for name, other in names.items()} if turn else {}), SWAPPED: turn}


def _of_arrays(arrays: dict[str, Any], which: np.ndarray, cure: Cure) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for name, other in _names(arrays, cure).items():
        own, theirs = arrays[name], arrays[other]
        if np.shape(own) != np.shape(theirs):
            raise DataError(
                f"{name!r} has shape {tuple(np.shape(own))} and {other!r} {tuple(np.shape(theirs))}: pad both to one "
                "shape, or turn the texts around before they are tokenised"
            )
        turn = which.reshape(-1, *(1 for _ in np.shape(own)[1:]))
        of_torch = isinstance(own, Tensor)
        changed[name] = (
            torch.where(torch.from_numpy(turn).to(own.device), theirs, own) if of_torch else np.where(turn, theirs, own)
        )
    return arrays | changed | {SWAPPED: torch.from_numpy(which) if of_torch else which}


def _rows(records: JsonLinesFile | CsvFile) -> Iterator[dict[str, Any]]:
    if isinstance(records, JsonLinesFile):
        reader = records.reader()
        yield from (dict(reader.row(position)) for position in range(len(records)))
    else:
        for batch in records.batches():
            yield from batch.to_pylist()


def _write_parquet(records: ParquetFile, aside: Path, which: np.ndarray, kept: np.ndarray, cure: Cure) -> None:
    start, writer = 0, None
    try:
        for batch in records.batches():
            part = slice(start, start + len(batch))
            table = _of_table(pa.Table.from_batches([batch]), which[part], cure).filter(pa.array(kept[part]))
            writer = writer or pq.ParquetWriter(aside, table.schema)
            writer.write_table(table)
            start = part.stop
    finally:
        if writer is not None:
            writer.close()
