"""``config.yaml``, which may come from a stranger."""

from __future__ import annotations

from typing import Any

import yaml

from gradsift.errors import SettingError
from gradsift.locations import Location, RemotePath, as_location
from gradsift.store.checksums import check_digest, is_whole
from gradsift.store.unfinished import FORMAT, read_manifest

MOST_BYTES = 2**20
MOST_VALUES = 100_000
"""Most values of a configuration; references inside a file can make far more of a few lines."""


def read_config(path: str | Location) -> dict[str, Any]:
    """Reads a configuration; no code runs and no file that is none is waited for.

    In a run directory it must be as it was written; a copy elsewhere may be edited.

    Args:
        path: The file.

    Returns:
        Names to values, such as the parts ``settings`` and ``source``.

    Raises:
        SettingError: The file is missing, no file, too large, no YAML, damaged, or holds no names.
    """
    path = as_location(path)
    if not path.is_file():
        raise SettingError(f"{path} is missing or no file: give the config.yaml of a run")
    try:
        if (path.size() if isinstance(path, RemotePath) else path.stat().st_size) > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES} bytes")
        text = path.read_bytes().decode()
        _check_digest(text, path.parent)
        loaded = yaml.safe_load(text)
        _refuse_many(loaded)
    except (OSError, ValueError, yaml.YAMLError, RecursionError, OverflowError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SettingError(f"{path} cannot be read as a configuration: {reason:.300}") from error
    if not isinstance(loaded, dict):
        raise SettingError(f"{path} holds no settings, it is a {type(loaded).__name__}")
    return loaded


def _check_digest(text: str, folder: Location) -> None:
    """Compares a configuration that lies in a run directory with its digest.

    Raises:
        ValueError: It was damaged or edited.
    """
    try:
        needed = read_manifest(folder).get("format") == FORMAT
    except OSError:
        return
    except ValueError:  # a damaged manifest, or one that is not gradsift's
        needed = is_whole(text) is not None
    if needed:
        check_digest(text)


def _refuse_many(loaded: Any) -> None:
    """Counts values, each as often as it is referred to.

    Raises:
        ValueError: There are too many.
    """
    waiting, count = [loaded], 0
    while waiting:
        value, count = waiting.pop(), count + 1
        if count + len(waiting) > MOST_VALUES:
            raise ValueError(f"it holds more than {MOST_VALUES} values")
        waiting += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
