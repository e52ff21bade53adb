"""What a text names: a local path, or a place in a store by URL."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import fsspec
from fsspec.registry import known_implementations

from gradsift.errors import LocationError, SettingError
from gradsift.locations.remote import Location, RemotePath

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_LOST_SLASH = re.compile(r"([a-z][a-z0-9+.-]+):/(?!/)")
"""What a :class:`pathlib.Path` makes of a URL."""
LOCAL = ("file", "local")
EXTRAS = {"s3fs": "gradsift[s3]"}
"""Package to the extra that brings it."""


def is_url(path: object) -> bool:
    """Whether a text names a place by URL.

    Args:
        path: What a user gave.

    Returns:
        True for ``s3://bucket/key``, ``file:///data`` and the like.
    """
    return isinstance(path, RemotePath) or (isinstance(path, str) and _URL.match(path) is not None)


def as_location(path: str | Path | RemotePath) -> Location:
    """What a path or URL means.

    Args:
        path: A local path, or a URL of a kind that fsspec serves; ``file://`` is a local path.

    Returns:
        The place.

    Raises:
        SettingError: No such kind of URL is known, or a package that serves it is missing.
        LocationError: The URL names no file.
    """
    if isinstance(path, RemotePath):
        return path
    text = str(path)
    lost = _LOST_SLASH.match(text) if isinstance(path, Path) else None
    if lost is not None and lost[1] in known_implementations:
        text = f"{lost[1]}://{text[lost.end() :]}"
    found = _URL.match(text)
    if found is None:
        return Path(path)
    protocol = found[1].lower()
    if protocol in LOCAL:
        return Path(str(fsspec.get_filesystem_class("file")._strip_protocol(text)))
    if "::" in text:
        raise SettingError(
            f"{text} is a URL within a URL: name the file itself, gradsift copies it where that is needed"
        )
    key = str(_filesystem_class(protocol, text)._strip_protocol(text))
    if not key.strip("/"):
        raise LocationError(f"{text} names no file: add its name, such as {protocol}://bucket/name")
    return RemotePath(protocol, key)


def relative(place: Location, folder: Location) -> str:
    """Name of a place from a folder on.

    Args:
        place: The place.
        folder: What it lies in.

    Returns:
        The name, with ``/``.
    """
    if isinstance(place, RemotePath) and isinstance(folder, RemotePath):
        return str(place.relative_to(folder))
    return Path(str(place)).relative_to(str(folder)).as_posix()


def is_inside(place: Location, folder: Location) -> bool:
    """Whether a place lies in a folder.

    Args:
        place: The place.
        folder: The folder.

    Returns:
        True where it lies in it at any depth.
    """
    if isinstance(place, RemotePath) and isinstance(folder, RemotePath):
        return str(place).startswith(f"{folder}/")
    if isinstance(place, Path) and isinstance(folder, Path):
        return folder.resolve() in place.resolve().parents
    return False


def _filesystem_class(protocol: str, url: str) -> Any:
    """The class of fsspec for a kind of URL."""
    try:
        return fsspec.get_filesystem_class(protocol)
    except ValueError as error:
        raise SettingError(
            f"{url} is a URL of an unknown kind {protocol}://: give a local path, or a URL that fsspec knows, such as "
            "s3://, gs:// or abfs://"
        ) from error
    except ImportError as error:
        package = str(known_implementations.get(protocol, {}).get("class", protocol)).partition(".")[0]
        raise SettingError(
            f"{url} needs the package {package}: pip install '{EXTRAS.get(package, package)}'"
        ) from error
