"""Files and folders that are whole at their final name, or not there.

What is written lies aside first, in the same folder under a name that begins with a dot. It is flushed to disk and then
given its final name in one step, so a process that is killed leaves nothing half written. While it is written, its
process holds a lock, which the system takes back when the process ends.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from gradsift.errors import OutputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FULL = (errno.ENOSPC, errno.EDQUOT)
"""The system's numbers for a full disk and for a quota that is used up."""


def never(_path: Path) -> bool:
    """No file that exists may be replaced.

    Args:
        _path: The file.

    Returns:
        False.
    """
    return False


@contextmanager
def writing(path: str | Path, kind: type[OutputError] = OutputError) -> Iterator[None]:
    """Turns the system's errors on writing into ones that say what to do.

    Args:
        path: What is being written, for the message.
        kind: Class of the error to raise.

    Yields:
        Nothing.

    Raises:
        OutputError: The disk is full, or the place cannot be written.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        if is_full(error):
            reason = "the disk is full: free some space and give the same command again" + kind.when_full
        else:
            reason = f"{error.strerror or error}: choose a directory that you can write"
        raise kind(f"cannot write {path}: {reason}") from error


def is_full(error: OSError) -> bool:
    """Whether an error means that the disk is full.

    Args:
        error: The error.

    Returns:
        True where the system, Arrow or numpy say so; numpy's short write carries no error number.
    """
    words = str(error)
    return error.errno in FULL or "No space left" in words or ("requested and" in words and "written" in words)


@contextmanager
def new_file(path: str | Path, *, replaces: Callable[[Path], bool] = never) -> Iterator[Path]:
    """Writes a file whole or not at all; one that another program wrote is never replaced.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "numbers.txt"
        >>> with new_file(path) as aside:
        ...     _ = aside.write_text("1 2 3")
        >>> path.read_text()
        '1 2 3'

    Args:
        path: Its final name. Folders above it are made.
        replaces: Whether the file that already stands there may be replaced. None may by default.

    Yields:
        Where to write: a name beside the final one, with the same ending.

    Raises:
        OutputError: A file stands there, another process writes the same one, the disk is full, or the place cannot be
            written.
    """
    path = Path(path)
    _refuse_if_taken(path, replaces)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.stem}.part{path.suffix}")
        with locked(aside):
            try:
                yield aside
                flush(aside)
                _give_name(aside, path, replaces)
            finally:
                aside.unlink(missing_ok=True)
            flush(path.parent)


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Writes a folder whole or not at all.

    Args:
        path: Its final name. Nothing may stand there but an empty folder.

    Yields:
        The folder to write into, beside the final one.

    Raises:
        OutputError: As for :func:`new_file`.
    """
    path = Path(path)
    _refuse_if_taken(path, never)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.part")
        with locked(path.with_name(f".{path.name}.lock")):
            shutil.rmtree(aside, ignore_errors=True)  # of a process that was killed
            try:
                aside.mkdir()
                yield aside
                flush_below(aside)
                _refuse_if_taken(path, never)
                aside.rename(path)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
            flush(path.parent)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds a lock file while something is written; the file is gone afterwards.

    The lock is the system's and ends with the process, so one that was killed never stands in the way.

    Args:
        path: The lock file, which may itself be what is written.

    Yields:
        Nothing.

    Raises:
        OutputError: Another process holds it.
    """
    busy = f"another process is writing {path}: wait for it to end, or choose another name"
    if fcntl is None:
        try:
            with FileLock(path.with_name(path.name + ".lock"), timeout=0):
                yield
        except Timeout as error:
            raise OutputError(busy) from error
        return
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(busy) from error
        except OSError as error:  # a file system without locks
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
        if not path.exists() or not os.path.samestat(path.stat(), os.fstat(handle)):
            raise OutputError(busy)  # its last holder has just finished, and given the file its name
        try:
            yield
        finally:
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(path.stat(), os.fstat(handle)):
                    path.unlink()
    finally:
        os.close(handle)


def flush(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk and not only in the system's memory.

    Args:
        path: The file or folder.
    """
    if path.is_dir() and os.name == "nt":
        return  # folders cannot be flushed there
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        if fcntl is not None and hasattr(fcntl, "F_FULLFSYNC"):
            fcntl.fcntl(handle, fcntl.F_FULLFSYNC)  # macOS: fsync alone stops at the drive's cache
        else:
            os.fsync(handle)
    finally:
        os.close(handle)


def flush_below(folder: Path) -> None:
    """Flushes a folder with everything in it.

    Args:
        folder: The folder.
    """
    for place in folder.rglob("*"):
        flush(place)
    flush(folder)


def _give_name(aside: Path, path: Path, replaces: Callable[[Path], bool]) -> None:
    """Gives a file its final name in one step; what came there meanwhile is not replaced."""
    _refuse_if_taken(path, replaces)
    if path.exists():
        aside.replace(path)
        return
    try:
        os.link(aside, path)  # unlike a rename, this fails where a file stands
    except FileExistsError as error:
        raise OutputError(_taken(path)) from error
    except OSError:  # a file system without links
        aside.rename(path)


def _refuse_if_taken(path: Path, replaces: Callable[[Path], bool]) -> None:
    empty = path.is_dir() and not path.is_symlink() and not any(path.iterdir())
    if os.path.lexists(path) and not empty and not (path.is_file() and replaces(path)):
        raise OutputError(_taken(path))


def _taken(path: Path) -> str:
    return f"{path} exists and is not replaced: choose another name, or remove it first"
