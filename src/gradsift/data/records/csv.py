"""Files of separated values: ``.csv`` and ``.tsv``."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from gradsift.data.records.base import BLOCK, refuse_twice
from gradsift.data.records.lines import LinesFile, Span, refuse_wide
from gradsift.errors import DataError

SEPARATORS = ",;\t|"
"""The one that stands most often in the header separates the values."""
NEWLINE, RETURN, QUOTE = b'\n\r"'
LONGEST = 64 * 2**20
"""Most bytes of a record."""
DECIMAL_COMMA = r"^\s*-?\d+,\d+\s*$"


class CsvFile(LinesFile):
    """A file with a header and one record a line; texts in quotation marks may run over several lines.

    Separator, quotation marks and spelling of values stay those of the file in a copy.

    Args:
        path: The file.

    Raises:
        DataError: It has no header, an encoding that is not UTF-8, columns of the same name, or a record with more or fewer
            values than the header.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._separator = SEPARATORS  # any of them, while only the header is read
        with path.open("rb") as file:
            refuse_wide(path, file.read(2))
        header = next(self._spans(b"", header=True), None)
        if header is None:
            raise DataError(f"{path} is empty: the first line of a csv file names the columns")
        self._head = header.content[: int(header.ends[0])]
        text = header._replace(content=self._head).utf8(path).removeprefix("\ufeff").strip("\r\n")
        unquoted = re.sub(r'"[^"]*"', "", text)
        self._separator = "\t" if path.suffix.lower() == ".tsv" else max(SEPARATORS, key=unquoted.count)
        if "\r" in unquoted.replace("\r\n", ""):
            raise DataError(f"{path} ends its lines with \\r alone: convert it first, such as with tr '\\r' '\\n'")
        try:
            self._columns = [name.strip() for name in next(csv.reader([text], delimiter=self._separator))]
        except csv.Error as error:
            raise DataError(f"{path} is no readable csv file: its header cannot be split ({error})") from error
        refuse_twice(path, self._columns)
        self._size, types = 0, dict.fromkeys(self._columns, pa.null())
        for span in self.spans():
            self._size += len(span.ends)
            table = self._parsed(span, self._columns, {})
            types = {field.name: _joined(types[field.name], field.type) for field in table.schema}
        self.schema = pa.schema(types)

    def __len__(self) -> int:
        """Number of records."""
        return self._size

    @property
    def head(self) -> bytes:
        """The header as it stands."""
        return self._head

    def spans(self) -> Iterator[Span]:
        """Records after the header."""
        return self._spans(self._head)

    def batches(self, names: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Records in order, with the types that fit the whole file."""
        names = self._columns if names is None else list(names)
        for span in self.spans():
            table = self._parsed(span, names, {name: self.schema.field(name).type for name in names})
            yield from table.combine_chunks().to_batches()

    def _value(self, record: bytes, name: str) -> str:
        return self._split(record.decode())[self._columns.index(name)]

    def _with_names(self, names: Sequence[str]) -> bytes:
        return self._longer(self._head.decode(), self._line(names)).encode()

    def _with_values(
        self,
        record: bytes,
        label: str | None,
        new_label: tuple[Any, ...],
        given_name: str | None,
        texts: Mapping[str, str],
    ) -> bytes:
        text, added = record.decode(), []
        if label is not None:
            fields = self._split(text)
            place = self._columns.index(label)
            added = [] if given_name is None else [fields[place]]
            if new_label:
                fields[place] = new_label[0] if isinstance(new_label[0], str) else json.dumps(new_label[0])
                text = self._line(fields) + text[len(text.rstrip("\r\n")) :]
        return self._longer(text, self._line([*added, *texts.values()])).encode()

    def _longer(self, line: str, more: str) -> str:
        """A line with more values before its end."""
        body = line.rstrip("\r\n")
        return f"{body}{self._separator}{more}{line[len(body) :]}" if more else line

    def _split(self, line: str) -> list[str]:
        try:
            return next(csv.reader(io.StringIO(line, newline=""), delimiter=self._separator))
        except csv.Error as error:
            raise DataError(f"{self.path}: the record {line:.80} cannot be split ({error})") from error

    def _line(self, values: Sequence[str]) -> str:
        line = io.StringIO()
        csv.writer(line, delimiter=self._separator, lineterminator="").writerow(values) if values else None
        return line.getvalue()

    def _spans(self, head: bytes, header: bool = False) -> Iterator[Span]:
        """Splits the file into records: a line end ends one unless it stands in quotation marks."""
        with self.path.open("rb") as file:
            file.seek(len(head))
            line, rest = 1 + head.count(b"\n"), b""
            while True:
                piece = file.read(64 * 2**10 if header else BLOCK)
                content = rest + piece
                quotes, unclosed = _quotes(content, self._separator)
                if unclosed is None and not piece and len(quotes) % 2:
                    unclosed = int(quotes[-1])
                if unclosed is not None and not header:
                    raise DataError(
                        f"{self.path}: the quotation mark that opens a value on line "
                        f"{line + content.count(NEWLINE, 0, unclosed)} is not closed: close it, or write a mark that is "
                        'part of the value twice, within marks: "like ""this"""'
                    )
                ends = _record_ends(content, quotes, last=not piece)
                if not len(ends) and len(content) > LONGEST:
                    raise DataError(
                        f"{self.path}: the record on line {line} goes on for more than {LONGEST // 2**20} MB: a quotation "
                        "mark that it opens is not closed"
                    )
                cut = int(ends[-1]) if len(ends) else 0
                starts = np.append(0, ends[:-1])[: len(ends)]
                full = _not_blank(content, starts, ends)
                if full.any():
                    yield Span(content[:cut], starts[full], ends[full], line)
                line, rest = line + content.count(b"\n", 0, cut), content[cut:]
                if not piece:
                    return

    def _parsed(self, span: Span, names: Sequence[str], types: Mapping[str, pa.DataType]) -> pa.Table:
        """Parses some records, and makes sure that they are as many as a copy would count."""
        span.utf8(self.path)
        wrong: list[Any] = []

        def note(row: Any) -> str:
            wrong.append(row)
            return "skip"

        try:
            table = pa_csv.read_csv(
                io.BytesIO(span.content),
                pa_csv.ReadOptions(column_names=self._columns, use_threads=False, block_size=len(span.content) + 1),
                pa_csv.ParseOptions(delimiter=self._separator, newlines_in_values=True, invalid_row_handler=note),
                pa_csv.ConvertOptions(include_columns=list(names), column_types=dict(types)),
            )
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise DataError(f"{self.path} is no readable csv file, from line {span.line}: {error}") from error
        if wrong:
            row = wrong[0]
            line = span.line_at(span.content.find(row.text.encode()))
            hint = " (comments are no records: remove them)" if row.text.startswith("#") else ""
            raise DataError(
                f"{self.path} has {row.actual_columns} values on line {line} and "
                f"{row.expected_columns} columns in its header{hint}: mend the line, or put values that hold the separator "
                f"{self._separator!r} in quotation marks"
            )
        if len(table) != len(span.ends):
            raise DataError(
                f"{self.path}: records from line {span.line} on cannot be told apart ({len(table)} or {len(span.ends)}): "
                "end each line with \\n or \\r\\n, and put values that hold a line end in quotation marks"
            )
        return table

    def refuse_decimal_commas(self, names: Sequence[str]) -> None:
        """Refuses columns of numbers that are written with a comma, which would be left out as text.

        Args:
            names: Columns of text.

        Raises:
            DataError: All values of one are such numbers.
        """
        open_names = list(names)
        for batch in self.batches(names) if names else ():
            open_names = [name for name in open_names if _all_decimal_commas(batch[name])]
            if not open_names:
                return
        if open_names and len(self):
            raise DataError(
                f"{self.path} has numbers with a decimal comma in the columns {', '.join(open_names)}: write them with a "
                f"point, or leave the columns out (--ignore {','.join(open_names)})"
            )


def _quotes(content: bytes, separators: str) -> tuple[np.ndarray, int | None]:
    """Quotation marks that open and close values, in turn: one within a value that begins without is part of the value.

    Args:
        content: Bytes that begin with a record.
        separators: What may stand between two values.

    Returns:
        Where they stand, and where a value begins whose closing mark, on a later line, is followed by more: its own one was
        forgotten. ``None`` where there is none.
    """
    characters = np.frombuffer(content, np.uint8)
    quotes = np.flatnonzero(characters == QUOTE)
    edges = np.array([*separators.encode(), NEWLINE, RETURN, QUOTE])
    starts = (quotes == 0) | np.isin(characters[quotes - 1], edges)
    stops = (quotes == len(characters) - 1) | np.isin(characters[np.minimum(quotes + 1, len(characters) - 1)], edges)
    if starts[::2].all() and stops[1::2].all():
        return quotes, None
    marks: list[int] = []
    skipped = -1
    for place, stop in zip(quotes.tolist(), stops.tolist(), strict=True):
        if place == skipped:
            continue
        if len(marks) % 2 == 0:
            if place == 0 or (characters[place - 1] != QUOTE and characters[place - 1] in edges):
                marks.append(place)
        elif content[place + 1 : place + 2] == b'"':
            skipped = place + 1
        else:
            if not stop and b"\n" in content[marks[-1] : place]:
                return np.array(marks[:-1], dtype=np.int64), marks[-1]
            marks.append(place)
    return np.array(marks, dtype=np.int64), None


def _record_ends(content: bytes, quotes: np.ndarray, *, last: bool) -> np.ndarray:
    """Where each record ends: after a line end with an even number of opening and closing quotation marks before it."""
    newlines = np.flatnonzero(np.frombuffer(content, np.uint8) == NEWLINE)
    ends = newlines[np.searchsorted(quotes, newlines) % 2 == 0] + 1
    if last and len(content) and (not len(ends) or ends[-1] < len(content)):
        ends = np.append(ends, len(content))
    return ends


def _not_blank(content: bytes, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Which records hold more than a line end."""
    full = ends - starts > 2
    for place in np.flatnonzero(~full):
        full[place] = content[starts[place] : ends[place]].strip(b"\r\n") != b""
    return full


def _joined(first: pa.DataType, second: pa.DataType) -> pa.DataType:
    """The type that holds the values of both."""
    if first == second or pa.types.is_null(second):
        return first
    if pa.types.is_null(first):
        return second
    return pa.float64() if {first, second} == {pa.int64(), pa.float64()} else pa.string()


def _all_decimal_commas(column: pa.Array) -> bool:
    values = column.filter(pc.and_kleene(column.is_valid(), pc.not_equal(column, "")))
    return len(values) > 0 and bool(pc.all(pc.match_substring_regex(values, DECIMAL_COMMA)).as_py())
