"""Local copies of what lies in a store, for what needs a file of its own: memory maps, archives, model folders.

They lie in a temporary folder, which is removed when the process ends. A file is copied again
only where the store says that it has changed.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading
from pathlib import Path

from gradsift.errors import LocationError
from gradsift.locations.remote import Location, RemotePath, each
from gradsift.locations.requests import request

PART = ".part"
"""Ending of a copy that is being made."""


class _Copies:
    """The copies of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._process, self._folder, self._versions = os.getpid(), "", dict[str, str]()

    def place(self, remote: RemotePath) -> Path:
        """Where the copy of a file lies; its folder is made."""
        with self._lock:
            if self._process != os.getpid():
                self._forget()  # of the process that this one was forked from, which removes them
            if not self._folder:
                self._folder = tempfile.mkdtemp(prefix="gradsift-copies-")
                atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
        place = Path(self._folder) / remote.protocol / remote.key.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def known(self, remote: RemotePath, version: str) -> bool:
        """Whether a copy of this version is there."""
        return self._process == os.getpid() and self._versions.get(str(remote)) == version

    def note(self, remote: RemotePath, version: str) -> None:
        """Says which version a copy is of."""
        self._versions[str(remote)] = version


_COPIES = _Copies()


def local_copy(place: Location) -> Path:
    """A file or folder where it can be read as a local one.

    Args:
        place: The file or folder.

    Returns:
        The place itself where it is local; otherwise a copy, in the folder for temporary files (``TMPDIR``).

    Raises:
        FileNotFoundError: It does not exist.
        LocationError: It cannot be read.
    """
    if isinstance(place, Path):
        return place
    try:
        version = place.version()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{place} does not exist") from error
    if version:
        return _copied(place, version)
    files = place.files()
    copies, folder = each(lambda file: _copied(file, file.version()), files), _COPIES.place(place)
    for file in {file for file in folder.rglob("*") if file.is_file() and file.suffix != PART}.difference(copies):
        file.unlink(missing_ok=True)  # the store has it no longer
    return folder


def keep_copy(place: RemotePath, file: Path) -> None:
    """Takes a local file, whose content was just uploaded, as the copy; it need not be read back.

    Args:
        place: Where it was uploaded to.
        file: The file, which is moved away.
    """
    copy = _COPIES.place(place)
    copy.unlink(missing_ok=True)
    shutil.move(file, copy)
    _COPIES.note(place, place.version())


def _copied(remote: RemotePath, version: str) -> Path:
    copy = _COPIES.place(remote)
    if _COPIES.known(remote, version) and copy.is_file():
        return copy
    part = copy.with_name(f".{copy.name}.{threading.get_ident()}{PART}")
    request(str(remote), "read", lambda: remote.fs.get_file(remote.key, str(part)))
    if remote.version() != version:
        part.unlink()
        raise LocationError(f"{remote} changed while it was read: wait until it is written, and give the command again")
    part.replace(copy)  # who has the earlier version open keeps it
    _COPIES.note(remote, version)
    return copy
