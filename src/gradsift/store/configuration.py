"""``config.yaml``, which may come from a stranger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from gradsift.errors import SettingError

MOST_BYTES = 2**20
MOST_VALUES = 100_000
"""Most values of a configuration; references inside a file can make far more of a few lines."""


def read_config(path: Path) -> dict[str, Any]:
    """Reads a configuration; no code runs and no file that is none is waited for.

    Args:
        path: The file.

    Returns:
        Names to values, such as the parts ``settings`` and ``source``.

    Raises:
        SettingError: The file is missing, no file, too large, no YAML, or holds no names.
    """
    if not path.is_file():
        raise SettingError(f"{path} is missing or no file: give the config.yaml of a run")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES} bytes")
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
        _refuse_many(loaded)
    except (OSError, ValueError, yaml.YAMLError, RecursionError, OverflowError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SettingError(f"{path} cannot be read as a configuration: {reason:.300}") from error
    if not isinstance(loaded, dict):
        raise SettingError(f"{path} holds no settings, it is a {type(loaded).__name__}")
    return loaded


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
