"""What lies in a folder, so that two folders can be compared: names and hashes, without what differs between equal runs."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

Contents = dict[str, str]
"""Path below the folder to the hash of its bytes; folders to an empty text."""
APART = ("timing.json",)
"""Host and seconds: the contract leaves them out."""
SECONDS = re.compile(rb'"seconds": [0-9.e-]+|"digest": "[0-9a-f]{64}"')
"""Seconds, and digests of texts that hold them."""


def contents(folder: Path) -> Contents:
    """Everything below a folder.

    Args:
        folder: The folder.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.name not in APART and "__pycache__" not in path.parts:
            found[path.relative_to(folder).as_posix()] = "" if path.is_dir() else _hash(path)
    return found


def below(whole: Contents, place: str) -> Contents:
    """The part of some contents that lies at or below a place.

    Args:
        whole: The contents.
        place: A file or folder.
    """
    inside = {path: value for path, value in whole.items() if path == place or path.startswith(place + "/")}
    return {path.removeprefix(place): value for path, value in inside.items()}


def copied(template: Path, names: Iterable[str], folder: Path) -> Path:
    """An empty folder with some of a template's files.

    Args:
        template: The template.
        names: Files and folders of it.
        folder: The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if (template / name).is_dir():
            shutil.copytree(template / name, place)
        else:
            shutil.copy2(template / name, place)
    return folder


def _hash(path: Path) -> str:
    written = path.read_bytes()
    if path.name == "verify.jsonl":  # a checksum is of the line with its seconds
        written = b"\n".join(sorted({_trial(line) for line in written.splitlines()} - {b""}))
    elif path.name in ("verify.json", "geometry.json", "report.html"):
        written = SECONDS.sub(b"", written)
    return hashlib.sha256(written).hexdigest()


def _trial(line: bytes) -> bytes:
    try:
        row = json.loads(line)
    except ValueError:
        return b""  # cut off by a kill: readers leave it out
    row = row.get("trial", row)
    return json.dumps({name: row[name] for name in ("arm", "seed", "value") if name in row}).encode()
