"""Files and folders that are whole at their final name, or not there.

What is written lies aside first, in the same folder under a name that begins with a dot. It is flushed to disk and then
given its final name in one step, so a process that is killed leaves nothing half written. While it is written, its
process holds a lock, which the system takes back when the process ends.

In a store (:mod:`gradsift.locations`), which has no renames and no locks, a file appears whole by itself, a folder is
whole with the file that is written last, and a lease stands in for the lock.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath

from filelock import FileLock, Timeout

from gradsift.errors import OutputError
from gradsift.locations import Location, RemotePath, as_location, leased
from gradsift.locations.uploads import SUCCESS, new_remote_file, new_remote_folder, remove_all, taken

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # looked at before it is used

FULL = (errno.ENOSPC, errno.EDQUOT)
"""The system's numbers for a full disk and for a quota that is used up."""
UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP, errno.ENOTTY, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK)
"""What file systems that can neither flush a folder nor lock a file answer."""
FLUSHES = 16
"""Files that are flushed at a time; the disk serves them together."""


def never(_path: Location) -> bool:
    """No file that exists may be replaced.

    Args:
        _path: The file.

    Returns:
        False.
    """
    return False


def always(_path: Location) -> bool:
    """A file is replaced, because none but gradsift writes one of this name here.

    Args:
        _path: The file.

    Returns:
        True.
    """
    return True


@contextmanager
def writing(path: str | Location, kind: type[OutputError] = OutputError) -> Iterator[None]:
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
    except OutputError:
        raise
    except Exception as error:
        if is_full(error):
            reason = "the disk is full: free some space and give the same command again" + kind.when_full
        elif isinstance(error, OSError):
            reason = f"{error.strerror or error}: choose a directory that you can write"
        else:
            raise
        raise kind(f"cannot write {path}: {reason}") from error


def is_full(error: Exception) -> bool:
    """Whether an error means that the disk is full.

    Args:
        error: The error.

    Returns:
        True where the system, Arrow, safetensors or numpy say so; numpy's short write carries no error number.
    """
    words = str(error)
    if getattr(error, "errno", None) in FULL or "No space left" in words:
        return True
    return isinstance(error, OSError) and "requested and" in words and "written" in words


@contextmanager
def new_file(
    path: str | Location, *, replaces: Callable[[Location], bool] = never, kind: type[OutputError] = OutputError
) -> Iterator[Path]:
    """Writes a file whole or not at all; one that another program wrote is never replaced.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "numbers.txt"
        >>> with new_file(path) as aside:
        ...     _ = aside.write_text("1 2 3")
        >>> path.read_text()
        '1 2 3'

    Args:
        path: Its final name, a local path or a URL. Folders above it are made.
        replaces: Whether the file that already stands there may be replaced. None may by default.
        kind: Class of the errors to raise.

    Yields:
        Where to write: a name beside the final one, with the same ending; of a URL, a local file, which is then uploaded.

    Raises:
        OutputError: A file stands there, another process writes the same one, the disk is full, or the place cannot be
            written.
    """
    path = as_location(path)
    with writing(path, kind):
        if isinstance(path, RemotePath):
            new = replaces is not always and not path.exists()
            if replaces is not always and not new:
                refuse_if_taken(path, replaces, kind)
            with new_remote_file(path, kind, new=new) as aside:
                yield aside
            return
        refuse_if_taken(path, replaces, kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.stem}.part{path.suffix}")
        if aside.is_symlink() or (aside.exists() and aside.stat().st_nlink > 1):
            aside.unlink()  # of a process that was killed after the file had its name: writing here would write there
        with locked(aside, path, kind):
            try:
                yield aside
                flush(aside)
                _give_name(aside, path, replaces, kind)
            finally:
                aside.unlink(missing_ok=True)
            flush(path.parent)


@contextmanager
def new_folder(path: str | Location, *, kind: type[OutputError] = OutputError, last: str = SUCCESS) -> Iterator[Path]:
    """Writes a folder whole or not at all.

    Args:
        path: Its final name. Nothing may stand there but an empty folder.
        kind: Class of the errors to raise.
        last: In a store, the file that is written last and makes the folder whole.

    Yields:
        The folder to write into, beside the final one.

    Raises:
        OutputError: As for :func:`new_file`.
    """
    path = as_location(path)
    if isinstance(path, RemotePath):
        with reserved(path, kind), writing(path, kind), new_remote_folder(path, kind, last) as aside:
            yield aside
        return
    aside = path.with_name(f".{path.name}.part")
    with writing(path, kind):
        refuse_if_taken(path, kind=kind, folder=True)
    with reserved(path, kind), writing(path, kind):
        remove(aside)  # of a process that was killed
        try:
            aside.mkdir()
            yield aside
            flush_below(aside)
            refuse_if_taken(path, kind=kind, folder=True)
            if path.exists():
                path.rmdir()  # empty; a rename replaces it on some systems only
            aside.rename(path)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        flush(path.parent)


@contextmanager
def reserved(path: Location, kind: type[OutputError] = OutputError) -> Iterator[None]:
    """Keeps a name for this process from before the work until it is written; a lock file beside it says so.

    Args:
        path: A file or folder that is to be written. Folders above it are made.
        kind: Class of the errors to raise.

    Yields:
        Nothing.

    Raises:
        OutputError: Another process writes it, or the place cannot be written.
    """
    with contextlib.ExitStack() as stack:
        with writing(path, kind):
            if isinstance(path, RemotePath):
                stack.enter_context(leased(path, kind))
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(path.with_name(f".{path.name}.lock"), path, kind))
        yield


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


def flush(path: Location) -> None:
    """Waits until a file, or the names in a folder, are on the disk and not only in the system's memory.

    What a store has taken is there.

    Args:
        path: The file or folder.
    """
    if isinstance(path, RemotePath):
        return
    if os.name == "nt" and path.is_dir():
        return  # folders cannot be flushed there
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        if fcntl is not None and hasattr(fcntl, "F_FULLFSYNC"):
            try:
                fcntl.fcntl(handle, fcntl.F_FULLFSYNC)  # macOS: fsync alone stops at the drive's cache
                return
            except OSError as error:
                if error.errno not in UNSUPPORTED:
                    raise
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
    finally:
        os.close(handle)


def flush_below(folder: Location) -> None:
    """Flushes a folder with everything in it.

    Args:
        folder: The folder.
    """
    if isinstance(folder, RemotePath):
        return
    places = [place for place in folder.rglob("*") if not place.is_symlink()]
    with ThreadPoolExecutor(FLUSHES, thread_name_prefix="gradsift-flush") as threads:
        list(threads.map(flush, [*places, folder]))


def remove(path: Location) -> None:
    """Removes a file, a link, or a folder with everything in it, where it is there.

    Args:
        path: What to remove.
    """
    if isinstance(path, RemotePath):
        remove_all(path)
    elif path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def refuse_if_taken(
    path: Location,
    replaces: Callable[[Location], bool] = never,
    kind: type[OutputError] = OutputError,
    *,
    folder: bool = False,
) -> None:
    """Refuses a name that is taken, or that the system keeps for itself; to be asked before work is wasted.

    Args:
        path: What is to be written.
        replaces: Whether a file that already stands there may be replaced.
        kind: Class of the error to raise.
        folder: Whether a folder is to be written; an empty one may stand there.

    Raises:
        OutputError: The name is taken.
    """
    if isinstance(path, RemotePath):
        if not folder and path.exists() and not (path.is_file() and replaces(path)):
            raise taken(path, kind)
        return
    if os.name == "nt" and PureWindowsPath(path).is_reserved():
        raise kind(f"{path.name} is a name that Windows keeps for itself: choose another name")
    empty = folder and path.is_dir() and not path.is_symlink() and not any(path.iterdir())
    if os.path.lexists(path) and not empty and not (path.is_file() and replaces(path)):
        raise taken(path, kind)


def _give_name(aside: Path, path: Path, replaces: Callable[[Location], bool], kind: type[OutputError]) -> None:
    """Gives a file its final name in one step; what came there meanwhile is not replaced."""
    refuse_if_taken(path, replaces, kind)
    if path.exists():
        aside.replace(path)
        return
    try:
        os.link(aside, path)  # unlike a rename, this fails where a file stands
    except FileExistsError as error:
        raise taken(path, kind) from error
    except OSError:  # a file system without links
        aside.rename(path)


def _is_open_at(handle: int, path: Path) -> bool:
    """Whether an open file still has its name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
