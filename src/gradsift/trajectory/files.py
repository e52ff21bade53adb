"""A folder of arrays that is replaced in one step: what is read is one whole save, the last or the one before.

Layout::

    trajectory/
      trajectory.json              how it was recorded; the file and SHA-256 of each array, and a digest of its own
      loss-3f2a9c417b0d5e68.npy    an array, under a name that begins its SHA-256
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gradsift.errors import RunDirectoryError
from gradsift.locations import Location, RemotePath, local_copy
from gradsift.store.checksums import from_json, sha256_of, to_json
from gradsift.writing import always, flush, new_file, new_folder, reserved, writing

ABOUT = "trajectory.json"
_ARRAY = re.compile(r"\w+-[0-9a-f]{16}\.npy|\.\w+\.part\.npy")


def save_arrays(path: Location, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a folder of arrays, or replaces an earlier save in one step.

    Args:
        path: A new or empty folder, or one that holds an earlier save.
        about: What ``trajectory.json`` says beside the arrays.
        arrays: Name to array.

    Raises:
        RunDirectoryError: Something else lies there, another process writes it, or it cannot be written.
    """
    if not (path / ABOUT).is_file():
        with new_folder(path, kind=RunDirectoryError, last=ABOUT) as fresh:
            _write(fresh, about, arrays)
        return
    with reserved(path, RunDirectoryError), writing(path, RunDirectoryError):
        earlier = _files(path)
        current = _write(path, about, arrays)
        for name in earlier | {file.name for file in path.iterdir() if _ARRAY.fullmatch(file.name)}:
            if name not in current:
                with contextlib.suppress(OSError):  # still mapped, on Windows; the next save removes it
                    (path / name).unlink()


def open_arrays(path: Location) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Reads what :func:`save_arrays` has written, or a save of the first format.

    Args:
        path: The folder.

    Returns:
        What ``trajectory.json`` says, and name to array, memory-mapped.

    Raises:
        OSError: A file is missing.
        ValueError: A file is damaged.
    """
    about = from_json((path / ABOUT).read_bytes().decode())
    if "arrays" not in about:  # the first format, without checksums
        names = [file.stem for file in path.glob("*.npy")]
        return about, {name: _mapped(path / f"{name}.npy") for name in names}
    about = from_json((path / ABOUT).read_bytes().decode(), needs_digest=True)
    for entry in about["arrays"].values():
        if sha256_of(path / entry["file"]) != entry["sha256"]:
            raise ValueError(f"{entry['file']} does not fit its checksum")
    return about, {name: _mapped(path / entry["file"]) for name, entry in about["arrays"].items()}


def _write(folder: Location, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> set[str]:
    """Writes arrays under names of their own, then ``trajectory.json``, which makes them the save; returns their names."""
    entries = {}
    with contextlib.ExitStack() as stack:
        local = folder
        if isinstance(folder, RemotePath):
            local = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gradsift-")))
        for name, values in arrays.items():
            aside = Path(str(local)) / f".{name}.part.npy"
            np.save(aside, values, allow_pickle=False)
            digest = sha256_of(aside)
            entries[name] = {"file": f"{name}-{digest[:16]}.npy", "sha256": digest}
            place = folder / entries[name]["file"]
            if isinstance(place, RemotePath):
                place.upload(aside)
                continue
            flush(aside)
            aside.replace(place)
    with new_file(folder / ABOUT, replaces=always, kind=RunDirectoryError) as file:
        file.write_text(to_json({**about, "arrays": entries}), encoding="utf-8", newline="\n")
    return {entry["file"] for entry in entries.values()}


def _files(path: Location) -> set[str]:
    """Names of the arrays of an earlier save; none where it is damaged."""
    try:
        about = from_json((path / ABOUT).read_bytes().decode())
        if "arrays" in about:
            return {entry["file"] for entry in about["arrays"].values()}
        return {f"{name}.npy" for name in (*about["statistics"], "recorded_at", "predictions")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()


def _mapped(path: Location) -> np.ndarray:
    array: np.ndarray = np.load(local_copy(path), mmap_mode="r", allow_pickle=False)
    return array
