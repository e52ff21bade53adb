"""Finished trainings in a file, one line each, so that a killed verification goes on."""

from __future__ import annotations

import contextlib
import logging
import os
from types import TracebackType
from typing import Any, Self

from gradsift.errors import OutputError
from gradsift.evaluation.verification import Trial
from gradsift.locations import Location, RemotePath, as_location
from gradsift.store.checksums import from_json, to_json
from gradsift.writing import flush, reserved, writing

logger = logging.getLogger(__name__)

BEGINNING = b'{"key": "'
"""Of every line; a process that was killed in its first write may have left a part of it."""


class TrialFile:
    """Trials on disk; each line carries a checksum and is on the disk before the next training begins.

    A context manager: no other process can write the file meanwhile.

    Args:
        path: The file; ``None`` keeps nothing.

    Raises:
        OutputError: The file is not one of these, another process writes it, or it cannot be written.
    """

    def __init__(self, path: str | Location | None) -> None:
        self._path = as_location(path) if path is not None else None
        self._lock = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Itself; folders above the file are made."""
        if self._path is not None:
            with contextlib.ExitStack() as stack, writing(self._path):
                stack.enter_context(reserved(self._path))
                if not isinstance(self._path, RemotePath):
                    self._path.touch()
                elif not self._path.exists():
                    self._path.write_bytes(b"")
                self._refuse_others()
                self._lock = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Lets other processes write the file."""
        self._lock.close()

    def rows(self) -> list[dict[str, Any]]:
        """The trials that are in it, as :meth:`append` was given them; damaged lines are left out, with a warning."""
        rows = []
        for number, line in enumerate(self._lines(), start=1):
            row = _row(line)
            if row is None:
                logger.warning("%s: line %d is damaged or cut off, it is left out", self._path, number)
            else:
                rows.append(row)
        return rows

    def append(self, key: str, trial: Trial) -> None:
        """Adds a trial.

        Args:
            key: What it belongs to.
            trial: The trial.
        """
        if self._path is None:
            return
        line = to_json({"key": key} | trial.to_dict(), indent=None).encode()
        if isinstance(self._path, RemotePath):  # a store appends nothing: the file is written anew, whole or not at all
            self._path.write_bytes(b"".join(line + b"\n" for line in self._lines()) + line)
            return
        with writing(self._path), self._path.open("ab+") as file:
            if file.tell() and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                line = b"\n" + line  # after a line that was cut off
            file.write(line)
            file.flush()
            flush(self._path)

    def _lines(self) -> list[bytes]:
        return [] if self._path is None else [line for line in self._path.read_bytes().split(b"\n") if line]

    def _refuse_others(self) -> None:
        lines = self._lines()
        only_begun = lines == [self._path.read_bytes()] and BEGINNING.startswith(lines[0]) if self._path else False
        if lines and not only_begun and not any(b'"arm"' in line or b'"key"' in line for line in lines):
            raise OutputError(
                f"{self._path} holds no trials of gradsift, and nothing is added to it: name another file"
            )


def _row(line: bytes) -> dict[str, Any] | None:
    """A line's content; ``None`` where it is damaged. Lines of the first format carry no checksum."""
    try:
        row = from_json(line.decode() + "\n")
        Trial(**{name: value for name, value in row.items() if name != "key"})
        return row if "key" in row else None
    except (ValueError, TypeError):
        return None
