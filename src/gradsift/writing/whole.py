"""Files and folders that are given their final name when they are whole."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath

from gradsift.errors import OutputError
from gradsift.locations import Location, RemotePath, as_location, leased
from gradsift.locations.uploads import SUCCESS, new_remote_file, new_remote_folder, remove_all, taken
from gradsift.writing.disk import flush, flush_below
from gradsift.writing.errors import writing
from gradsift.writing.locks import locked


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
