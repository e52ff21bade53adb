"""``decisions.sqlite``: rows that are added and never changed, whole after a crash at any moment.

Of a run in a store, where nothing can be added to a file, it lies on this machine and names the run. One process writes a
run's decisions at a time: what a reviewer sees (how far undo goes, what is left) would otherwise change below them. The
lock is the system's and ends with its process.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradsift.cleaning.decision import Decision
from gradsift.cleaning.decision_database import NAME, explained, open_to_read, open_to_write
from gradsift.errors import RunDirectoryError
from gradsift.locations import Location, RemotePath, local_copy
from gradsift.writing import locked

_FIELDS = "position, sample_id, content, reviewer, kind, label, note, milliseconds, at, blind"


@dataclass(frozen=True)
class Step:
    """What was done at once, and is undone at once.

    Attributes:
        number: Its number, rising from 1.
        reviewer: Who did it.
        action: ``"decide"``, ``"undo"`` or ``"redo"``.
        of_step: Number of the step that was undone or done again.
        at: When, ISO 8601.
    """

    number: int
    reviewer: str
    action: str
    of_step: int | None
    at: str


@dataclass(frozen=True)
class Row:
    """A stored row.

    Attributes:
        number: Its number, rising from 1.
        step: Number of its step.
        decision: The decision that it tells of: a new one, or the one that is undone or done again.
        previous: Number of the row that stood before, of the same reviewer and sample.
        stands: Number of the row whose decision stands from now on; ``None`` where none does.
    """

    number: int
    step: int
    decision: Decision
    previous: int | None
    stands: int | None


class DecisionFile:
    """The file of a run's decisions; see :meth:`to_write` and :meth:`to_read`.

    Args:
        path: The file.
        connection: The open database, which threads may share that take turns.
        held: What is closed with it: the connection, and the lock of who writes.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, held: contextlib.ExitStack) -> None:
        self.path, self._connection, self._held = path, connection, held

    @classmethod
    def to_write(cls, folder: Location, fingerprint: str, *, create: bool) -> DecisionFile:
        """Opens a run's decisions for this process alone to write.

        Args:
            folder: The run directory.
            fingerprint: The run's fingerprint, which the file records.
            create: Whether a new file is made where there is none.

        Returns:
            The open file.

        Raises:
            RunDirectoryError: It is missing, damaged, of another run, held by another process, or cannot be written.
        """
        path = place_of(folder, fingerprint)
        if not path.exists() and not create:
            raise RunDirectoryError(f"{folder} has no decisions: gradsift review {folder} collects them")
        with contextlib.ExitStack() as stack, explained(path):
            if isinstance(folder, RemotePath):
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _refuse_unwritable(path.parent, path)
            _take_lock(stack, path, folder)
            connection = open_to_write(stack, path, fingerprint, str(folder))
            return cls(path, connection, stack.pop_all())

    @classmethod
    def to_read(cls, folder: Location, fingerprint: str) -> DecisionFile | None:
        """Opens a run's decisions for reading, also while another process writes them.

        Args:
            folder: The run directory.
            fingerprint: The run's fingerprint, which the file records.

        Returns:
            The open file; ``None`` where there is none, or one in which nothing was ever written.

        Raises:
            RunDirectoryError: It is damaged, or of another run.
        """
        own = place_of(folder, fingerprint)
        if own.exists():
            path = own
        elif isinstance(folder, RemotePath) and (folder / NAME).exists():
            path = local_copy(folder / NAME)
        else:
            return None
        if not path.stat().st_size:
            return None
        with contextlib.ExitStack() as stack, explained(path):
            connection = open_to_read(stack, path, fingerprint)
            if connection is None:
                return None
            return cls(path, connection, stack.pop_all())

    def close(self) -> None:
        """Closes the file and lets other processes write it."""
        self._held.close()

    def append(self, step: Step, rows: Sequence[Row], request: str = "") -> None:
        """Adds a step with its rows, all or none; they are on the disk when this returns.

        Args:
            step: The step.
            rows: Its rows.
            request: Token of the request that made it; none where empty.

        Raises:
            RunDirectoryError: The file cannot be written; nothing was added.
        """
        with explained(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.execute(
                    "INSERT INTO steps VALUES (?, ?, ?, ?, ?)",
                    (step.number, step.reviewer, step.action, step.of_step, step.at),
                )
                marks = ", ".join("?" * 14)
                self._connection.executemany(f"INSERT INTO decisions VALUES ({marks})", map(_values, rows))
                if request:
                    self._connection.execute("INSERT INTO requests VALUES (?, ?)", (request, step.number))
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def step_of(self, reviewer: str, request: str) -> int | None:
        """The step that a request made; for who writes.

        Args:
            reviewer: Whose request it was.
            request: Its token; empty where it has none.

        Returns:
            Number of the step; ``None`` where it made none.
        """
        if not request:
            return None
        query = "SELECT number FROM requests JOIN steps ON step = number WHERE token = ? AND reviewer = ?"
        with explained(self.path):
            row = self._connection.execute(query, (request, reviewer)).fetchone()
        return None if row is None else int(row[0])

    def steps(self) -> Iterator[Step]:
        """All steps in the order in which they were done."""
        with explained(self.path):
            for values in self._connection.execute(
                "SELECT number, reviewer, action, of_step, at FROM steps ORDER BY number"
            ):
                yield Step(*values)

    def rows(self, position: int | None = None) -> Iterator[Row]:
        """Rows in the order in which they were added.

        Args:
            position: Those of one sample alone.

        Yields:
            The rows.
        """
        where, values = ("", ()) if position is None else (" WHERE position = ?", (position,))
        query = f"SELECT row, step, previous, stands, {_FIELDS} FROM decisions{where} ORDER BY row"
        with explained(self.path):
            for number, step, previous, stands, *fields in self._connection.execute(query, values):
                fields[5], fields[9] = json.loads(fields[5]), bool(fields[9])
                yield Row(number, step, Decision(*fields), previous, stands)


def place_of(folder: Location, fingerprint: str) -> Path:
    """Where a run's decisions are saved: beside its other files; of a run in a store, on this machine.

    Args:
        folder: The run directory.
        fingerprint: The run's fingerprint.

    Returns:
        The file, whether it is there or not.
    """
    if not isinstance(folder, RemotePath):
        return folder / NAME
    home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    name = re.sub(r"[^\w.-]", "_", folder.name)
    return home / "gradsift" / "decisions" / f"{name}-{fingerprint[:16]}.sqlite"


def _values(row: Row) -> tuple[Any, ...]:
    decision = row.decision
    return (
        row.number, row.step, int(decision.position), decision.sample_id, decision.content, decision.reviewer,
        decision.kind, json.dumps(decision.label, allow_nan=False), decision.note, int(decision.milliseconds),
        decision.at, int(decision.blind), row.previous, row.stands,
    )  # fmt: skip


def _refuse_unwritable(folder: Path, path: Path) -> None:
    for place in (folder, path):
        if place.exists() and not os.access(place, os.W_OK):
            raise RunDirectoryError(
                f"{place} cannot be written, so decisions could not be saved: give yourself the right to write there, or "
                "copy the run directory to a place that is yours"
            )


def _take_lock(stack: contextlib.ExitStack, path: Path, folder: Location) -> None:
    lock = path.with_name(f".{path.name}.lock")
    try:
        stack.enter_context(locked(lock, path, RunDirectoryError))
    except RunDirectoryError as error:
        raise RunDirectoryError(
            f"another process reviews {folder}: use its page, where several people can decide at once, or end it first"
        ) from error
