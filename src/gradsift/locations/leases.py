"""One writer at a time in a store, which has no locks: a lease that its holder renews.

The lease is a small file beside what is written, whose name ends in a number. Only one process can create a file of a new
name (a conditional write), so whoever takes over the lease of a process that has died creates the next number. Age is told
by the store's clock alone, by comparison with a file that was just written.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from gradsift.errors import GradsiftError, LocationError, OutputError
from gradsift.locations.remote import Location, RemotePath
from gradsift.locations.requests import request

logger = logging.getLogger(__name__)

LASTS = 120.0
"""Seconds after its last renewal at which a lease counts as given up."""
RENEWED = 20.0
"""Seconds between two renewals."""


def refuse_unwritable(place: Location, kind: type[OutputError] = OutputError) -> None:
    """Refuses a place that cannot be written, before work is wasted; in a store a small file is written and removed.

    Args:
        place: What is to be written later.
        kind: Class of the error to raise of a local path.

    Raises:
        OutputError: The folder that is to hold it is none, or may not be written.
        LocationError: The store cannot be reached, does not accept who asks, has no such bucket, or denies writing.
    """
    if isinstance(place, RemotePath):
        _now(place)
        return
    parents = place.absolute().parents
    above = place if os.path.isdir(place) else next(folder for folder in parents if os.path.lexists(folder))  # noqa: PTH112  # False where it may not be asked
    if not os.path.isdir(above) or not os.access(above, os.W_OK | os.X_OK):  # noqa: PTH112
        raise kind(f"cannot write {place}: {above} is no folder that you can write, choose another place")


@contextmanager
def leased(place: RemotePath, kind: type[OutputError] = OutputError) -> Iterator[None]:
    """Keeps a name in a store for this process.

    Args:
        place: What is written.
        kind: Class of the error to raise.

    Yields:
        Nothing.

    Raises:
        OutputError: Another process writes it.
        LocationError: The place cannot be written.
    """
    now = _now(place)
    beside = _beside(place)
    leases = _leases(place, beside)
    for _, lease in leases:
        _refuse_live(place, lease, now, kind)
    number = leases[-1][0] if leases else 0
    own = place.parent / f".{place.name}.lock.{number + 1:06d}"
    holder = json.dumps({"host": _host(), "process": os.getpid(), "holder": uuid.uuid4().hex}).encode()
    try:
        own.write_bytes(holder, new=True)
    except FileExistsError as error:
        raise _busy(place, kind, "") from error
    except NotImplementedError:
        own.write_bytes(holder)
    trials = [file for file in beside if file.name.startswith(f".{place.name}.trial-")]
    for left in [*(lease for _, lease in leases), *trials]:  # of processes that were killed
        left.unlink(missing_ok=True)
    ended = threading.Event()
    renewal = threading.Thread(target=_renew, args=(own, holder, ended), name="gradsift-lease", daemon=True)
    renewal.start()
    try:
        yield
    finally:
        ended.set()
        renewal.join()
        with contextlib.suppress(OSError, GradsiftError):
            own.unlink(missing_ok=True)


def is_leased(place: RemotePath) -> bool:
    """Whether a process that lives writes a place.

    Args:
        place: What may be being written.

    Returns:
        True where :func:`leased` would refuse.
    """
    try:
        for _, lease in _leases(place, _beside(place)):
            _refuse_live(place, lease, _now(place), OutputError)
    except OutputError:
        return True
    return False


def _renew(own: RemotePath, holder: bytes, ended: threading.Event) -> None:
    while not ended.wait(RENEWED):
        try:
            own.write_bytes(holder)
        except (OSError, GradsiftError) as error:
            logger.warning("the lease %s could not be renewed: %s", own, error)


def _beside(place: RemotePath) -> list[RemotePath]:
    """Leases and trials that lie beside a place; one listing."""
    return [file for file in place.parent.iterdir() if file.name.startswith(f".{place.name}.")]


def _leases(place: RemotePath, beside: list[RemotePath]) -> list[tuple[int, RemotePath]]:
    """The leases among these files, the newest last."""
    leases = [file for file in beside if file.stem == f".{place.name}.lock" and file.suffix[1:].isdigit()]
    return sorted((int(lease.suffix[1:]), lease) for lease in leases)


def _refuse_live(place: RemotePath, lease: RemotePath, now: datetime, kind: type[OutputError]) -> None:
    """Refuses to go on beside a process that lives."""
    try:
        age = (now - _written(lease)).total_seconds()
        holder = json.loads(lease.read_bytes())
    except FileNotFoundError:
        return
    except ValueError:
        holder = {}
    if holder.get("host") == _host() and not _lives(int(holder.get("process", 0))):
        return
    if age < LASTS:
        left = f" (of one that was killed, the name is free {LASTS - age:.0f} seconds from now)"
        raise _busy(place, kind, left)


def _busy(place: RemotePath, kind: type[OutputError], left: str) -> OutputError:
    return kind(f"another process is writing {place}: wait for it to end{left}, or choose another name")


def _now(place: RemotePath) -> datetime:
    """The store's time, from a file that is written and removed."""
    if place.parent.key == ".":
        raise LocationError(f"{place} is a bucket: add a name, such as {place}/runs/x")
    trial = place.parent / f".{place.name}.trial-{uuid.uuid4().hex[:12]}"
    while True:
        trial.write_bytes(b"gradsift tries whether it can write here")
        try:
            return _written(trial)
        except FileNotFoundError:  # whoever got the lease at this moment has taken it for one that was left
            continue
        finally:
            trial.unlink(missing_ok=True)


def _written(file: RemotePath) -> datetime:
    found: datetime = request(str(file), "read", lambda: file.fs.modified(file.key))
    return found


def _host() -> str:
    """This machine; each container is a machine of its own."""
    with contextlib.suppress(OSError):
        return f"{platform.node()} {Path('/proc/self/ns/pid').readlink()}"
    return platform.node()


def _lives(process: int) -> bool:
    """Whether a process of this machine runs; a number that another one has got counts as running."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return process > 0
