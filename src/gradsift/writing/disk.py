"""What is written, on the disk and not only in the system's memory."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from gradsift.locations import Location, RemotePath
from gradsift.writing.errors import UNSUPPORTED

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # looked at before it is used

FLUSHES = 16
"""Files that are flushed at a time; the disk serves them together."""


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
