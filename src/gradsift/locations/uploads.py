"""New files and folders in a store: written locally, then uploaded, whole or not at all."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gradsift.errors import OutputError
from gradsift.locations.remote import Location, RemotePath, each

SUCCESS = "_SUCCESS"
"""Written last into a folder of files that have no manifest of their own, as Spark and others do."""


def taken(place: Location, kind: type[OutputError]) -> OutputError:
    """What is said of a place where something stands.

    Args:
        place: The place.
        kind: Class of the error.

    Returns:
        The error to raise.
    """
    return kind(f"{place} exists and is not replaced: choose another name, or remove it first")


@contextmanager
def new_remote_file(place: RemotePath, kind: type[OutputError], *, new: bool) -> Iterator[Path]:
    """A local file that is uploaded once it is written; one that came there meanwhile is not replaced.

    Args:
        place: Its name in the store.
        kind: Class of the error to raise.
        new: Whether a file that stands there is refused, and not replaced.

    Yields:
        The local file.

    Raises:
        OutputError: One stands there, and it was to be new.
        LocationError: The store cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="gradsift-") as folder:
        aside = Path(folder) / place.name
        yield aside
        try:
            place.upload(aside, new=new)
        except FileExistsError as error:
            raise taken(place, kind) from error


@contextmanager
def new_remote_folder(place: RemotePath, kind: type[OutputError], last: str = SUCCESS) -> Iterator[Path]:
    """A local folder that is uploaded once it is written; the file that makes it whole comes last.

    Until then a note beside it lists its files, so that a later try may replace them. To be called under a lease.

    Args:
        place: Its name in the store. Nothing may lie below it, except files of a try that was killed.
        kind: Class of the error to raise.
        last: Name of the file that makes it whole; made where the folder does not hold it.

    Yields:
        The local folder.

    Raises:
        OutputError: Files lie there that gradsift has not begun.
        LocationError: The store cannot be written.
    """
    _make_way(place, kind, last)
    with tempfile.TemporaryDirectory(prefix="gradsift-") as temporary:
        folder = Path(temporary) / place.name
        folder.mkdir()
        yield folder
        names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
        if last not in names:
            (folder / last).write_text(json.dumps({"files": names}, indent=2) + "\n", encoding="utf-8")
        _make_way(place, kind, last)
        _note(place).write_bytes(json.dumps({"files": [*names, last]}).encode())
        each(lambda name: (place / name).upload(folder / name), [name for name in names if name != last])
        (place / last).upload(folder / last)
        _note(place).unlink(missing_ok=True)


def is_unfinished(place: RemotePath, last: str = SUCCESS) -> bool:
    """Whether a folder is still being uploaded, or its upload was killed.

    Args:
        place: The folder.
        last: Name of the file that makes it whole.

    Returns:
        True where :func:`new_remote_folder` has begun and not finished it.
    """
    return _note(place).is_file() and not (place / last).is_file()


def remove_all(place: RemotePath) -> None:
    """Removes a file and all files below.

    Args:
        place: What to remove.
    """
    each(lambda file: file.unlink(missing_ok=True), place.files())
    if place.is_file():
        place.unlink(missing_ok=True)


def _note(place: RemotePath) -> RemotePath:
    return place.with_name(f".{place.name}.part.json")


def _make_way(place: RemotePath, kind: type[OutputError], last: str) -> None:
    files = place.files()
    if not files and not place.is_file():
        return
    try:
        begun = set(json.loads(_note(place).read_bytes())["files"]) if not (place / last).is_file() else set()
    except FileNotFoundError:
        begun = set()
    if place.is_file() or not {str(file.relative_to(place)) for file in files} <= begun:
        raise taken(place, kind)
    remove_all(place)
