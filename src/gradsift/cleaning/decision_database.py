"""The database in ``decisions.sqlite``: its tables, how it is opened, and what SQLite's errors mean.

SQLite in WAL mode with ``synchronous=FULL``: what was added is on the disk before a transaction ends. Triggers refuse to
change or delete a row.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gradsift.errors import RunDirectoryError
from gradsift.writing import is_full

NAME = "decisions.sqlite"
FORMAT = 1
APPLICATION = 0x67726473
"""SQLite's application id of these files: the letters ``grds``."""
_SCHEMA = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE steps (
    number INTEGER PRIMARY KEY, reviewer TEXT NOT NULL, action TEXT NOT NULL, of_step INTEGER, at TEXT NOT NULL
);
CREATE TABLE decisions (
    row INTEGER PRIMARY KEY, step INTEGER NOT NULL REFERENCES steps, position INTEGER NOT NULL, sample_id TEXT NOT NULL,
    content TEXT NOT NULL, reviewer TEXT NOT NULL, kind TEXT NOT NULL, label TEXT NOT NULL, note TEXT NOT NULL,
    milliseconds INTEGER NOT NULL, at TEXT NOT NULL, blind INTEGER NOT NULL, previous INTEGER, stands INTEGER
);
CREATE INDEX decisions_by_position ON decisions (position);
"""
_REQUESTS = """
CREATE TABLE IF NOT EXISTS requests (
    token TEXT NOT NULL, step INTEGER NOT NULL REFERENCES steps, PRIMARY KEY (token, step)
) WITHOUT ROWID;
"""
"""Which request made a step, so that one that is sent again makes no second one; readers do without it."""
_LAW = (
    "CREATE TRIGGER IF NOT EXISTS {table}_{verb} BEFORE {verb} ON {table} "
    "BEGIN SELECT RAISE(ABORT, 'rows are never changed'); END;"
)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into ones that say what to do.

    Args:
        path: The file.

    Yields:
        Nothing.

    Raises:
        RunDirectoryError: The disk is full, or the file is damaged, open elsewhere, or cannot be written.
    """
    try:
        yield
    except (sqlite3.Error, ValueError) as error:
        words = " ".join(str(error).split())
        if is_full(error) or "is full" in words:
            reason = "the disk is full, and nothing of this step was saved: free some space and decide again"
        elif "readonly" in words or "unable to open" in words:
            reason = "the place cannot be written: give yourself the right to write there, or copy the run directory"
        elif "locked" in words or "busy" in words:
            reason = "another program has the file open: close it"
        else:
            reason = (
                f"the file is damaged ({words}). Nothing of it was changed: put a copy of it aside, get what is left with "
                f"'sqlite3 {NAME} .recover', or remove it and import the decisions that were exported last"
            )
        raise RunDirectoryError(f"{path}: {reason}") from error


def open_to_write(stack: contextlib.ExitStack, path: Path, fingerprint: str, folder: str) -> sqlite3.Connection:
    """Opens the database to add rows, and makes its tables where there are none.

    Args:
        stack: Closes it.
        path: The file.
        fingerprint: The fingerprint of the run that it belongs to.
        folder: Where that run lies, which a new file records.

    Returns:
        The connection.

    Raises:
        RunDirectoryError: It is of another run, or of a format that is not read.
        sqlite3.Error: It is damaged, or no database of decisions.
    """
    _refuse_other_bytes(path)
    connection = stack.enter_context(contextlib.closing(_connect(path)))
    empty = _is_empty(connection)
    if not empty:
        _refuse_foreign(connection, path, fingerprint)
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "fullfsync = ON"):  # the last one is for macOS
        connection.execute(f"PRAGMA {pragma}")
    if empty:
        _create(connection, fingerprint, folder)
    connection.executescript(f"BEGIN IMMEDIATE;{_REQUESTS}{_laws('requests')}COMMIT;")
    return connection


def open_to_read(stack: contextlib.ExitStack, path: Path, fingerprint: str) -> sqlite3.Connection | None:
    """Opens the database, also while another process adds rows.

    Args:
        stack: Closes it.
        path: The file.
        fingerprint: The fingerprint of the run that it belongs to.

    Returns:
        The connection; ``None`` where nothing was ever written.

    Raises:
        RunDirectoryError: It is of another run, or of a format that is not read.
        sqlite3.Error: It is damaged, or no database of decisions.
    """
    _refuse_other_bytes(path)
    connection = stack.enter_context(contextlib.closing(_connect(path, _place_to_read(path))))
    if _is_empty(connection):
        return None
    _refuse_foreign(connection, path, fingerprint)
    return connection


def _refuse_other_bytes(path: Path) -> None:
    """Refuses a file that is no database before SQLite is asked to write into it; an empty one is a new one."""
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            if file.read(16) != b"SQLite format 3\0":
                raise sqlite3.DatabaseError("it is no database")


def _connect(path: Path, place: str | None = None) -> sqlite3.Connection:
    return sqlite3.connect(
        place or path, uri=place is not None, isolation_level=None, check_same_thread=False, timeout=5.0
    )


def _place_to_read(path: Path) -> str:
    """What SQLite is asked to open: in a folder that cannot be written it finds no room for what readers share."""
    if os.access(path.parent, os.W_OK):
        return path.resolve().as_uri() + "?mode=ro"
    left = path.with_name(path.name + "-wal")
    if left.exists() and left.stat().st_size:
        raise RunDirectoryError(
            f"{left} holds decisions that are not in {path.name} yet, and {path.parent} cannot be written: copy the run "
            "directory to a place that is yours"
        )
    return path.resolve().as_uri() + "?mode=ro&immutable=1"


def _is_empty(connection: sqlite3.Connection) -> bool:
    """Whether nothing was ever written; its process may have been killed before."""
    return bool(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0)


def _create(connection: sqlite3.Connection, fingerprint: str, folder: str) -> None:
    connection.executescript(
        f"BEGIN IMMEDIATE;{_SCHEMA}{_laws('steps', 'decisions')}PRAGMA application_id = {APPLICATION};"
        f"INSERT INTO about VALUES ('run', {_quoted(fingerprint)}), ('place', {_quoted(folder)});"
        f"PRAGMA user_version = {FORMAT};COMMIT;"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("\0", "").replace("'", "''") + "'"


def _laws(*tables: str) -> str:
    return "".join(_LAW.format(table=table, verb=verb) for table in tables for verb in ("UPDATE", "DELETE"))


def _refuse_foreign(connection: sqlite3.Connection, path: Path, fingerprint: str) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
        raise sqlite3.DatabaseError("it is a database of another program")
    if version != FORMAT:
        raise RunDirectoryError(
            f"{path} has format {version}, this gradsift reads {FORMAT}: install the one that wrote it"
        )
    damage = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if damage != "ok":
        raise sqlite3.DatabaseError(damage)
    owner = connection.execute("SELECT value FROM about WHERE name = 'run'").fetchone()
    if owner is None or owner[0] != fingerprint:
        raise RunDirectoryError(
            f"{path} holds the decisions of another run (another model, data set or settings): put it beside its own run, "
            "and bring its decisions over by what the samples hold: gradsift import-decisions"
        )
