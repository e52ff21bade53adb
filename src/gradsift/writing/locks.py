"""Locks of the system on files, which end with the process."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from gradsift.errors import OutputError
from gradsift.writing.errors import UNSUPPORTED

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # looked at before it is used


@contextmanager
def locked(path: Path, target: Path | None = None, kind: type[OutputError] = OutputError) -> Iterator[None]:
    """Holds a lock file while something is written; the file is gone afterwards.

    The lock is the system's and ends with the process, so one that was killed never stands in the way.

    Args:
        path: The lock file, which may itself be what is written.
        target: What is written, for the message; the lock file where left out.
        kind: Class of the error to raise.

    Yields:
        Nothing.

    Raises:
        OutputError: Another process holds it.
    """
    busy = kind(f"another process is writing {target or path}: wait for it to end, or choose another name")
    if fcntl is None:
        file = path.with_name(path.name + ".lock")
        lock = FileLock(file, timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise busy from error
        try:
            yield
        finally:
            lock.release()
            with contextlib.suppress(OSError):  # another process has it open
                file.unlink(missing_ok=True)
        return
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise busy from error
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
        if not _is_open_at(handle, path):
            raise busy  # its last holder has just finished
        try:
            yield
        finally:
            if _is_open_at(handle, path):
                path.unlink()
    finally:
        os.close(handle)


def _is_open_at(handle: int, path: Path) -> bool:
    """Whether an open file still has its name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
