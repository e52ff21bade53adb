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
        arrow_type: Type of the column.
    """

    def __init__(self, arrow_type: pa.DataType) -> None:
        arrow_type = _storage_type(arrow_type)
        self._valid, self._lengths, self._values = (
            hashlib.sha256(_family(arrow_type).encode()),
            hashlib.sha256(),
            hashlib.sha256(),
        )
        self._parts: list[ColumnDigest] = []
        if _is_list(arrow_type):
            self._parts = [ColumnDigest(arrow_type.value_type)]
        elif pa.types.is_struct(arrow_type):
            self._parts = [ColumnDigest(field.type) for field in arrow_type]

    def update(self, column: pa.Array) -> None:
        """Adds some consecutive values.

        Args:
            column: The values.
        """
        if isinstance(column, pa.ExtensionArray):
            column = column.storage
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        self._valid.update(column.is_valid().to_numpy(zero_copy_only=False).tobytes())
        arrow_type = column.type
        if _is_list(arrow_type):
            self._lengths.update(_lengths(pc.list_value_length(column)))
            self._parts[0].update(column.flatten())
        elif pa.types.is_struct(arrow_type):
            for part, values in zip(self._parts, column.flatten(), strict=True):
                part.update(values)
        elif _is_bytes(arrow_type):
            column = column.cast(pa.binary() if pa.types.is_fixed_size_binary(arrow_type) else pa.large_binary())
            self._lengths.update(_lengths(pc.binary_length(column)))
            for value in column.drop_null():
                self._values.update(value.as_buffer())
        elif pa.types.is_integer(arrow_type) or pa.types.is_floating(arrow_type) or pa.types.is_boolean(arrow_type):
            self._values.update(np.ascontiguousarray(column.drop_null().to_numpy(zero_copy_only=False)).tobytes())
        else:
            self._values.update("\n".join(map(repr, column.drop_null().to_pylist())).encode() + b"\n")

    def digest(self) -> bytes:
        """The hash of all that was added."""
        own = self._valid.digest() + self._lengths.digest() + self._values.digest()
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
    hashes = (name.encode() + b"\0" + digest.digest() for name, digest in columns.items())
    return hashlib.sha256(b"".join(hashes)).hexdigest()


def digest_files(files: Sequence[Path], notes: Sequence[Any]) -> str:
    """Hashes the bytes of files in order.

    Args:
        files: The files.
        notes: What belongs to each of them, such as its label.

    Returns:
        SHA-256 in hexadecimal.
    """
    all_files = hashlib.sha256()
    for file, note in zip(files, notes, strict=True):
        digest = hashlib.sha256()
        with file.open("rb") as content:
            while piece := content.read(PIECE):
                digest.update(piece)
        all_files.update(f"{file.name} {note!r} {digest.hexdigest()}\n".encode())
    return all_files.hexdigest()


def _storage_type(arrow_type: pa.DataType) -> pa.DataType:
    arrow_type = arrow_type.storage_type if isinstance(arrow_type, pa.BaseExtensionType) else arrow_type
    return arrow_type.value_type if pa.types.is_dictionary(arrow_type) else arrow_type


def _is_list(arrow_type: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(arrow_type) or pa.types.is_large_list(arrow_type) or pa.types.is_fixed_size_list(arrow_type)
    )


def _is_bytes(arrow_type: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(arrow_type)
        or pa.types.is_large_string(arrow_type)
        or pa.types.is_string_view(arrow_type)
        or pa.types.is_binary(arrow_type)
        or pa.types.is_large_binary(arrow_type)
        or pa.types.is_binary_view(arrow_type)
        or pa.types.is_fixed_size_binary(arrow_type)
    )


def _family(arrow_type: pa.DataType) -> str:
    """The type's name; one name for all ways to hold texts or lists, so that a copy in another library is the same."""
    if _is_bytes(arrow_type):
        return "bytes"
    return "list" if _is_list(arrow_type) else "struct" if pa.types.is_struct(arrow_type) else str(arrow_type)


def _lengths(lengths: pa.Array) -> bytes:
    return np.ascontiguousarray(lengths.fill_null(0).cast(pa.int64()).to_numpy()).tobytes()
