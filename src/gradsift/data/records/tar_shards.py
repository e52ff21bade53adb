"""Data sets of ``.tar`` shards as WebDataset writes them: the files of a sample lie together and share their name."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, NoReturn

import numpy as np
import pyarrow as pa

from gradsift.data.records.access import BlockReader, RowReader
from gradsift.data.records.base import BLOCK
from gradsift.data.records.changes import Changes
from gradsift.data.records.parts import Parts
from gradsift.errors import DataError
from gradsift.locations import Location, RemotePath
from gradsift.locations.remote import each

LABEL = "cls"
"""Ending of the files that hold class numbers; their column is named label."""
TEXTS = (LABEL, "txt", "text", "json", "id")
"""Endings of files that are read as text; others are bytes."""
END = bytes(1024)
"""What ends an archive."""


@dataclass
class Shard:
    """Where the samples of a shard lie.

    Attributes:
        starts: First byte of each sample's files, and the end of the last one's.
        keys: The name that the files of each sample share.
        endings: Endings of the files, in the order in which they come up.
        whole: Whether all labels are whole numbers.
    """

    starts: list[int] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    endings: dict[str, None] = field(default_factory=dict)
    whole: bool = True

    def blocks(self) -> Iterator[tuple[int, int]]:
        """First sample and the one behind the last, of pieces of about :data:`gradsift.data.records.base.BLOCK` bytes."""
        first = 0
        for place in range(1, len(self.keys) + 1):
            if place == len(self.keys) or self.starts[place + 1] - self.starts[first] > BLOCK:
                yield first, place
                first = place


class TarShards(Parts):
    """A folder or pattern of ``.tar`` shards, local or in a store.

    Each shard is passed through once to see where its samples begin; they are then read by ranges. Columns are ``id``, the
    name that the files of a sample share, and one for each ending, of which ``cls`` is named ``label``.

    Args:
        path: What the user calls it.
        files: The shards.

    Raises:
        DataError: A shard is broken, or a sample has two files of the same ending.
    """

    def __init__(self, path: Location, files: Sequence[Location]) -> None:
        super().__init__(path, files)
        self._shards: list[Shard] = each(_scanned, self.files)
        endings = {ending: None for shard in self._shards for ending in shard.endings}
        numbers = all(shard.whole for shard in self._shards)
        kinds = {ending: pa.string() if ending in TEXTS else pa.binary() for ending in endings}
        kinds |= {LABEL: pa.int64()} if numbers and LABEL in kinds else {}
        kinds.pop("id", None)
        fields = [pa.field("label" if ending == LABEL else ending, kind) for ending, kind in kinds.items()]
        self.schema = pa.schema([pa.field("id", pa.string()), *fields])

    @property
    def counts(self) -> list[int]:
        """Number of samples of each shard."""
        return [len(shard.keys) for shard in self._shards]

    def batches(self, names: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Samples in order, about :data:`gradsift.data.records.base.BLOCK` bytes at a time."""
        for number, first, last in self._all_blocks():
            yield from self.read_block(number, first, last, names).combine_chunks().to_batches()

    def reader(self, names: Sequence[str] | None = None) -> RowReader:
        """Samples by position, a block at a time."""
        return _Blocks(self, self._all_blocks(), names)

    def read_block(self, number: int, first: int, last: int, names: Sequence[str] | None) -> pa.Table:
        """Reads consecutive samples of a shard; one request to a store.

        Args:
            number: Number of the shard.
            first: The first sample.
            last: The one behind the last.
            names: Columns to read; all where ``None``.

        Returns:
            Their rows.
        """
        shard = self._shards[number]
        content = _bytes(self.files[number], shard.starts[first], shard.starts[last])
        rows: list[dict[str, str | bytes | int]] = [{"id": key} for key in shard.keys[first:last]]
        place, beginnings = -1, {start - shard.starts[first] for start in shard.starts[first:last]}
        try:
            with tarfile.open(fileobj=io.BytesIO(content + END), mode="r:") as archive:
                for member in archive:
                    if member.isfile():
                        place += member.offset in beginnings
                        self._put(rows[place], _ending(member.name), archive.extractfile(member))
        except (tarfile.TarError, UnicodeDecodeError, ValueError) as error:
            raise DataError(f"{self.files[number]} is no readable tar file ({error}): write the shard again") from error
        schema = self.schema if names is None else pa.schema([self.schema.field(name) for name in names])
        return pa.Table.from_pylist(rows, schema=schema)

    def _put(self, row: dict[str, str | bytes | int], ending: str, file: IO[bytes] | None) -> None:
        name = "label" if ending == LABEL else ending
        if file is None or name == "id" or name not in self.schema.names:
            return
        content, kind = file.read(), self.schema.field(name).type
        text = content.decode().strip() if ending == LABEL else content.decode() if pa.types.is_string(kind) else ""
        row[name] = int(text) if pa.types.is_integer(kind) else text if pa.types.is_string(kind) else content

    def _all_blocks(self) -> list[tuple[int, int, int]]:
        """Shard, first sample and the one behind the last, of each block."""
        return [(number, *block) for number, shard in enumerate(self._shards) for block in shard.blocks()]

    def _copy_part(self, number: int, keep: np.ndarray, output: Path) -> tuple[int, int]:
        shard = self._shards[number]
        with output.open("wb") as copy:
            for first, last in shard.blocks():
                kept = first + np.flatnonzero(keep[first:last])
                content = _bytes(self.files[number], shard.starts[first], shard.starts[last]) if len(kept) else b""
                for place in kept.tolist():
                    start, stop = (shard.starts[edge] - shard.starts[first] for edge in (place, place + 1))
                    copy.write(content[start:stop])
            copy.write(END)
        return int(keep.sum()), len(keep) - int(keep.sum())

    def _copy_changed(self, changes: Changes, output: Path) -> NoReturn:
        raise DataError(
            f"{self.origin} holds .tar shards: samples can be dropped from them, and not relabelled. Use drop, or load "
            "the samples in Python, where gradsift.correct gives a data set with other labels"
        )


class _Blocks(BlockReader):
    """Samples by position, a block at a time."""

    def __init__(self, shards: TarShards, blocks: list[tuple[int, int, int]], names: Sequence[str] | None) -> None:
        super().__init__([last - first for _, first, last in blocks])
        self._shards, self._places, self._names = shards, blocks, names

    def _load(self, number: int) -> pa.Table:
        return self._shards.read_block(*self._places[number], self._names)


def _scanned(file: Location) -> Shard:
    """Passes through a shard once."""
    shard, seen, end = Shard(), set[str](), 0
    try:
        with file.open("rb") as content, tarfile.open(fileobj=content, mode="r|", bufsize=BLOCK) as archive:
            for member in archive:
                if not member.isfile():
                    continue
                key, ending = _key(member.name), _ending(member.name)
                if not shard.keys or key != shard.keys[-1]:
                    shard.starts.append(member.offset)
                    shard.keys.append(key)
                    seen.clear()
                if ending in seen:
                    raise DataError(f"{file}: the sample {key!r} has two files .{ending}: write the shard again")
                seen.add(ending)
                shard.endings.setdefault(ending)
                if ending == LABEL and shard.whole:
                    extracted = archive.extractfile(member)
                    shard.whole = extracted is not None and extracted.read().strip().lstrip(b"-").isdigit()
                end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"{file} is no readable tar file ({error}): write the shard again") from error
    shard.starts.append(end)
    return shard


def _bytes(file: Location, start: int, stop: int) -> bytes:
    if isinstance(file, RemotePath):
        return file.read_range(start, stop)
    with file.open("rb") as content:
        content.seek(start)
        return content.read(stop - start)


def _key(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_name(path.name.partition(".")[0] or path.name))


def _ending(name: str) -> str:
    return PurePosixPath(name).name.partition(".")[2].lower()
