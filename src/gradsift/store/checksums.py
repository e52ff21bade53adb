"""Checksums: of files, and of texts that carry their own."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from gradsift.errors import RunDirectoryError
from gradsift.locations import Location, local_copy

BLANK = "0" * 64
_DIGEST = re.compile(r'(?:\A# digest: |"digest": ")([0-9a-f]{64})')


def sha256_of(path: Location) -> str:
    """Hashes a file, in pieces.

    Args:
        path: The file; one in a store is copied first.

    Returns:
        SHA-256 in hexadecimal.
    """
    with local_copy(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def comparing(known: Mapping[Location, str | None], checked: set[Location]) -> Callable[[Location], None]:
    """What compares each of some files with its checksum, once.

    Args:
        known: File to SHA-256.
        checked: Files that need no more comparison; it grows.

    Returns:
        A function that takes a file and raises where it is damaged.
    """

    def check(path: Location) -> None:
        with contextlib.suppress(FileNotFoundError):  # whoever reads it says so
            if path not in checked and sha256_of(path) != known[path]:
                raise RunDirectoryError(f"{path} cannot be read (it does not fit its checksum): audit again")
            checked.add(path)

    return check


def is_whole(text: str) -> bool | None:
    """Whether a text is as it was when its digest was taken.

    Args:
        text: The text, with the digest in it.

    Returns:
        ``None`` where it carries no digest.
    """
    found = _DIGEST.search(text)
    if found is None:
        return None
    blank = text[: found.start(1)] + BLANK + text[found.end(1) :]
    return hashlib.sha256(blank.encode()).hexdigest() == found[1]


def to_json(content: Mapping[str, Any], indent: int | None = 2) -> str:
    """Plain values as JSON with a digest of its own, under the key ``digest``.

    Args:
        content: Names to values.
        indent: Spaces of each level; ``None`` for a single line.

    Returns:
        The text, with a line end.
    """
    return _sealed(json.dumps({**content, "digest": BLANK}, indent=indent, sort_keys=indent is not None) + "\n")


def from_json(text: str, *, needs_digest: bool = False) -> dict[str, Any]:
    """Reads what :func:`to_json` has written.

    Args:
        text: The text.
        needs_digest: Whether a text without a digest is refused.

    Returns:
        Names to values, without the digest.

    Raises:
        ValueError: It is no JSON object, or not as it was written.
    """
    loaded = json.loads(text)
    if not isinstance(loaded, dict):
        raise ValueError("it holds no object")
    _check(text, needs_digest)
    return {name: value for name, value in loaded.items() if name != "digest"}


def with_digest(text: str) -> str:
    """A YAML text under a first line with its digest.

    Args:
        text: The text.

    Returns:
        Both; read as YAML, the first line is a comment.
    """
    return _sealed(f"# digest: {BLANK}\n{text}")


def check_digest(text: str) -> None:
    """Refuses a text that is not as :func:`with_digest` made it.

    Args:
        text: The text.

    Raises:
        ValueError: It was changed, or carries no digest.
    """
    _check(text, True)


def _check(text: str, needs_digest: bool) -> None:
    whole = is_whole(text)
    if whole is None and needs_digest:
        raise ValueError("its digest is missing")
    if whole is False:
        raise ValueError("its content does not fit its digest, so it was damaged or edited")


def _sealed(text: str) -> str:
    return text.replace(BLANK, hashlib.sha256(text.encode()).hexdigest(), 1)
