"""Text files whose records are runs of whole lines, which a copy takes over byte for byte."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gradsift.data.records.base import Table
from gradsift.data.records.changes import Changes
from gradsift.errors import DataError

UTF8_BOM = b"\xef\xbb\xbf"
WIDE = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
"""Marks at the beginning of a file in another encoding."""


class Span(NamedTuple):
    """Some consecutive records as they stand in the file.

    Attributes:
        content: Their bytes, with line ends.
        ends: Where each record ends in ``content``, shape (records,).
        starts: Where each one begins; blank lines lie between two records.
        line: Number of the first line, from 1.
    """

    content: bytes
    starts: np.ndarray
    ends: np.ndarray
    line: int

    def line_at(self, byte: int) -> int:
        """Number of the line on which a byte stands.

        Args:
            byte: Its place in the content.

        Returns:
            The number, from 1.
        """
        return self.line + self.content.count(b"\n", 0, int(byte))

    def utf8(self, path: Path) -> str:
        """The text.

        Args:
            path: The file, for the message.

        Returns:
            The content as a string.

        Raises:
            DataError: It is not UTF-8.
        """
        try:
            return self.content.decode()
        except UnicodeDecodeError as error:
            byte, line = self.content[error.start], self.line_at(error.start)
            raise DataError(
                f"{path} is not UTF-8: byte 0x{byte:02x} on line {line} belongs to another encoding. "
                f"Convert the file first, such as: iconv -f LATIN1 -t UTF-8 {path.name} > utf8{path.suffix}"
            ) from error


class LinesFile(Table):
    """A text file of records."""

    path: Path

    @abstractmethod
    def spans(self) -> Iterator[Span]:
        """Reads the records in order, about :data:`gradsift.data.records.base.BLOCK` bytes at a time."""

    @property
    def head(self) -> bytes:
        """What stands before the first record and is copied with every trim."""
        return b""

    def _copy(self, keep: np.ndarray, output: Path) -> tuple[int, int]:
        written = removed = 0
        with output.open("wb") as copy:
            copy.write(self.head)
            for span in self.spans():
                first = written + removed
                chosen = keep[first : first + len(span.ends)]
                for start, end in zip(
                    span.starts[: len(chosen)][chosen], span.ends[: len(chosen)][chosen], strict=True
                ):
                    copy.write(span.content[start:end])
                written += int(chosen.sum())
                removed += len(span.ends) - int(chosen.sum())
        return written, removed

    def _copy_changed(self, changes: Changes, output: Path) -> None:
        self._refuse_present(changes, self.names)
        given_name, label = changes.given_name(self.names), changes.label
        examples, values = set(changes.like.values()), dict[int, Any]()
        if label is not None:
            values = {
                place: self._value(record, label) for place, record in enumerate(self._records()) if place in examples
            }
        with output.open("wb") as copy:
            copy.write(self._with_names(changes.new_names(self.names)))
            for place, record in enumerate(self._records()):
                new_label = (values[changes.like[place]],) if place in changes.like else ()
                new_label = (changes.values[place],) if place in changes.values else new_label
                copy.write(self._with_values(record, label, new_label, given_name, changes.texts(place)))

    def _records(self) -> Iterator[bytes]:
        """Records as they stand."""
        for span in self.spans():
            for start, end in zip(span.starts.tolist(), span.ends.tolist(), strict=True):
                yield span.content[start:end]

    @abstractmethod
    def _value(self, record: bytes, name: str) -> Any:
        """A value of a record, as it is written."""

    @abstractmethod
    def _with_names(self, names: Sequence[str]) -> bytes:
        """The head with more columns."""

    @abstractmethod
    def _with_values(
        self,
        record: bytes,
        label: str | None,
        new_label: tuple[Any, ...],
        given_name: str | None,
        texts: Mapping[str, str],
    ) -> bytes:
        """A record with the new label, if any, the given one beside it, and more values as JSON."""


def refuse_wide(path: Path, beginning: bytes) -> None:
    """Refuses a text file in UTF-16.

    Args:
        path: The file.
        beginning: Its first bytes.

    Raises:
        DataError: It begins with the mark of that encoding.
    """
    if beginning[:2] in WIDE:
        raise DataError(
            f"{path} is in UTF-16: convert it first, such as: iconv -f UTF-16 -t UTF-8 {path.name} > utf8{path.suffix}"
        )
