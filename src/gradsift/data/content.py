"""Hashes of what is stored: the values of a table, whatever its pieces; the bytes of files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

PIECE = 4 * 2**20
"""Bytes of a file that are read at a time."""


class ColumnDigest:
    """Hash of a column that does not depend on how it is cut into pieces, nor on what lies behind missing values.

    Which values are there, their lengths and their bytes are hashed one beside the other; the parts of lists and structs
    are columns of their own.

    Args:
        kind: Type of the column.
    """

    def __init__(self, kind: pa.DataType) -> None:
        kind = _plain(kind)
        self._there, self._lengths, self._values = (
            hashlib.sha256(_family(kind).encode()),
            hashlib.sha256(),
            hashlib.sha256(),
        )
        self._parts: list[ColumnDigest] = []
        if _is_list(kind):
            self._parts = [ColumnDigest(kind.value_type)]
        elif pa.types.is_struct(kind):
            self._parts = [ColumnDigest(field.type) for field in kind]

    def update(self, column: pa.Array) -> None:
        """Adds some consecutive values.

        Args:
            column: The values.
        """
        if isinstance(column, pa.ExtensionArray):
            column = column.storage
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        self._there.update(column.is_valid().to_numpy(zero_copy_only=False).tobytes())
        kind = column.type
        if _is_list(kind):
            self._lengths.update(_lengths(pc.list_value_length(column)))
            self._parts[0].update(column.flatten())
        elif pa.types.is_struct(kind):
            for part, values in zip(self._parts, column.flatten(), strict=True):
                part.update(values)
        elif _is_bytes(kind):
            column = (
                column.cast(pa.large_binary()) if not pa.types.is_fixed_size_binary(kind) else column.cast(pa.binary())
            )
            self._lengths.update(_lengths(pc.binary_length(column)))
            for value in column.drop_null():
                self._values.update(value.as_buffer())
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
            self._values.update(np.ascontiguousarray(column.drop_null().to_numpy(zero_copy_only=False)).tobytes())
        else:
            self._values.update("\n".join(map(repr, column.drop_null().to_pylist())).encode() + b"\n")

    def digest(self) -> bytes:
        """The hash of all that was added."""
        own = self._there.digest() + self._lengths.digest() + self._values.digest()
        return hashlib.sha256(own + b"".join(part.digest() for part in self._parts)).digest()


def digest_batches(batches: Iterable[pa.RecordBatch], schema: pa.Schema | None = None) -> str:
    """Hashes the values of a table.

    Args:
        batches: Its rows in order, in pieces of any length.
        schema: Its columns, for a table without rows.

    Returns:
        SHA-256 in hexadecimal.
    """
    columns = {field.name: ColumnDigest(field.type) for field in schema or ()}
    for batch in batches:
        for name, values in zip(batch.schema.names, batch.columns, strict=True):
            columns.setdefault(name, ColumnDigest(values.type)).update(values)
    return hashlib.sha256(b"".join(name.encode() + b"\0" + one.digest() for name, one in columns.items())).hexdigest()


def digest_files(files: Sequence[Path], notes: Sequence[Any]) -> str:
    """Hashes the bytes of files in order.

    Args:
        files: The files.
        notes: What belongs to each of them, such as its label.

    Returns:
        SHA-256 in hexadecimal.
    """
    whole = hashlib.sha256()
    for file, note in zip(files, notes, strict=True):
        digest = hashlib.sha256()
        with file.open("rb") as content:
            while piece := content.read(PIECE):
                digest.update(piece)
        whole.update(f"{file.name} {note!r} {digest.hexdigest()}\n".encode())
    return whole.hexdigest()


def _plain(kind: pa.DataType) -> pa.DataType:
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def _family(kind: pa.DataType) -> str:
    """The type's name; one name for all ways to hold texts or lists, so that a copy in another library is the same."""
    if _is_bytes(kind):
        return "bytes"
    return "list" if _is_list(kind) else "struct" if pa.types.is_struct(kind) else str(kind)


def _lengths(lengths: pa.Array) -> bytes:
    return np.ascontiguousarray(lengths.fill_null(0).cast(pa.int64()).to_numpy()).tobytes()
