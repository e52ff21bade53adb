"""Files of JSON objects, one a line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from gradsift.data.records.access import RowReader
from gradsift.data.records.base import BLOCK
from gradsift.data.records.lines import UTF8_BOM, LinesFile, Span, refuse_wide
from gradsift.errors import DataError

LONGEST = 64 * 2**20
"""Most bytes of an object that runs over several lines."""
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
_PLAIN = {frozenset({bool}): pa.bool_(), frozenset({int}): pa.int64(), frozenset({str}): pa.string()}


class JsonLinesFile(LinesFile):
    """A file with one JSON object a line; one that runs over several lines is one record.

    Its columns are the keys of all objects, in the order in which they come up; a key that an object lacks is null. Columns
    of lists, objects or values of several kinds are read as JSON text, except by :meth:`reader`.

    Args:
        path: The file.

    Raises:
        DataError: A line begins no JSON object, or the file is not UTF-8.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with path.open("rb") as file:
            beginning = file.read(len(UTF8_BOM))
        refuse_wide(path, beginning)
        self._head = UTF8_BOM if beginning == UTF8_BOM else b""
        types: dict[str, set[type]] = {}
        spans = []
        for record, start, row in self._objects():
            spans.append((start, len(record)))
            for name, value in row.items():
                types.setdefault(name, set()).add(_json_type(value))
        self._spans = np.array(spans, dtype=np.int64).reshape(-1, 2)
        self.schema = pa.schema([pa.field(name, _arrow_type(types[name])) for name in types])
        self.nested = frozenset(name for name, of_column in types.items() if of_column & {list, dict})

    def __len__(self) -> int:
        """Number of objects."""
        return len(self._spans)

    @property
    def head(self) -> bytes:
        """The mark of the encoding, if any."""
        return self._head

    def spans(self) -> Iterator[Span]:
        """Objects as they stand."""
        for block in self._blocks():
            ends = np.cumsum([len(record) for record, _ in block])
            yield Span(b"".join(record for record, _ in block), np.append(0, ends[:-1]), ends, 0)

    def batches(self, names: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Objects in order, as columns."""
        schema = self.schema if names is None else pa.schema([self.schema.field(name) for name in names])
        for block in self._blocks():
            columns = {
                field: [_as_column_value(row.get(field.name), field.type) for _, row in block] for field in schema
            }
            arrays = [pa.array(values, field.type) for field, values in columns.items()]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    def reader(self, names: Sequence[str] | None = None) -> RowReader:
        """Objects by position, straight from the file."""
        return _Objects(self, self.names if names is None else names)

    def text(self, position: int) -> bytes:
        """An object as it stands.

        Args:
            position: Its position.

        Returns:
            Its bytes.
        """
        start, length = self._spans[position].tolist()
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(length)

    def _value(self, record: bytes, name: str) -> Any:
        return json.loads(record).get(name)

    def _with_names(self, names: Sequence[str]) -> bytes:
        return self._head

    def _with_values(
        self,
        record: bytes,
        label: str | None,
        new_label: tuple[Any, ...],
        given_name: str | None,
        texts: Mapping[str, str],
    ) -> bytes:
        body, added_texts = record.rstrip(), dict(texts)
        end = record[len(body) :]
        if label is not None:
            row = json.loads(record)
            if given_name is not None:
                added_texts[given_name] = json.dumps(row.get(label), ensure_ascii=False)
            if new_label:
                body = json.dumps(row | {label: new_label[0]}, ensure_ascii=False).encode()
        members = ", ".join(f"{json.dumps(name)}: {text}" for name, text in added_texts.items()).encode()
        return body[:-1].rstrip() + (b", " + members if members else b"") + b"}" + end

    def _blocks(self) -> Iterator[list[tuple[bytes, dict[str, Any]]]]:
        block, size = [], 0
        for record, _, row in self._objects():
            block.append((record, row))
            size += len(record)
            if size > BLOCK:
                yield block
                block, size = [], 0
        if block:
            yield block

    def _objects(self) -> Iterator[tuple[bytes, int, dict[str, Any]]]:
        """Each object: as it stands, where it begins in the file, and as Python has it."""
        with self.path.open("rb") as file:
            file.seek(len(self._head))
            start, line = len(self._head), 1
            for record in file:
                if record.strip():
                    complete = _whole_object(record, file)
                    yield complete, start, self._parsed(complete, line)
                    record = complete
                start += len(record)
                line += record.count(b"\n")

    def _parsed(self, record: bytes, line: int) -> dict[str, Any]:
        try:
            row = json.loads(record)
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self.path} is not UTF-8 on line {line} ({error.reason}): convert the file first, such as: "
                f"iconv -f LATIN1 -t UTF-8 {self.path.name} > utf8{self.path.suffix}"
            ) from error
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{self.path} is no readable jsonl file: line {line} begins no whole JSON object ({error}): "
                "write one object a line"
            ) from error
        if not isinstance(row, dict):
            raise DataError(
                f"{self.path}: line {line} begins a JSON {type(row).__name__} and no object: write one object a line, such "
                'as {"text": "…", "label": "…"}'
            )
        return row


class _Objects(RowReader):
    """Objects by position."""

    def __init__(self, file: JsonLinesFile, names: Sequence[str]) -> None:
        self._file, self._names = file, list(names)

    def row(self, position: int) -> dict[str, Any]:
        """One object, with every column."""
        row = json.loads(self._file.text(position))
        return {name: row.get(name) for name in self._names}


def _whole_object(line: bytes, following_lines: Iterator[bytes]) -> bytes:
    """A line, with those that follow until its brackets are closed."""
    depth, lines, size = _depth(line), [line], len(line)
    while depth > 0 and size < LONGEST:
        following = next(following_lines, None)
        if following is None:
            break
        depth += _depth(following)
        lines.append(following)
        size += len(following)
    return b"".join(lines)


def _depth(line: bytes) -> int:
    """How many brackets a line opens and leaves open."""
    if line.count(b"{") == line.count(b"}") and line.count(b"[") == line.count(b"]"):
        return 0
    brackets = _STRING.sub(b"", line)
    return brackets.count(b"{") + brackets.count(b"[") - brackets.count(b"}") - brackets.count(b"]")


def _json_type(value: Any) -> type:
    return float if type(value) is int and not -(2**63) <= value < 2**63 else type(value)


def _arrow_type(types: set[type]) -> pa.DataType:
    types = types - {type(None)}
    if not types:
        return pa.null()
    return pa.float64() if types <= {int, float} and float in types else _PLAIN.get(frozenset(types), pa.large_string())


def _as_column_value(value: Any, arrow_type: pa.DataType) -> Any:
    """A value as its column has it."""
    if value is None or pa.types.is_null(arrow_type):
        return None
    if pa.types.is_float64(arrow_type):
        return float(value)
    return json.dumps(value) if pa.types.is_large_string(arrow_type) and not isinstance(value, str) else value
