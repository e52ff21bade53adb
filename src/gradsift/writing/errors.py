"""The system's errors on writing, as ones that say what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from gradsift.errors import OutputError
from gradsift.locations import Location

FULL = (errno.ENOSPC, errno.EDQUOT)
"""The system's numbers for a full disk and for a quota that is used up."""
UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP, errno.ENOTTY, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK)
"""What file systems that can neither flush a folder nor lock a file answer."""


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
