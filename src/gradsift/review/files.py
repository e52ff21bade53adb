"""Decisions as files that the page gives and takes."""

from __future__ import annotations

import tempfile
from pathlib import Path

from gradsift.errors import SettingError
from gradsift.review.desk import Desk
from gradsift.review.exchange import export_decisions, read_decisions
from gradsift.review.formats import FORMATS, Format

OFFERED = {name: one for name, one in FORMATS.items() if one.ending}
"""Formats of a single file, which a browser can save."""


def exported(desk: Desk, name: str) -> tuple[str, bytes]:
    """All decisions that stand, as a file.

    Args:
        desk: The audit and its decisions.
        name: Name of the format.

    Returns:
        A name for the file, and its bytes.

    Raises:
        SettingError: The page gives no such format.
    """
    known = _of_name(name)
    with tempfile.TemporaryDirectory(prefix="gradsift-") as folder, desk.reading:
        path = Path(folder) / f"decisions{known.ending}"
        export_decisions(desk.audit, path, format_name=name, samples=desk.samples)
        return f"decisions-{name}{known.ending}", path.read_bytes()


def imported(desk: Desk, name: str, content: bytes, reviewer: str, *, of_all: bool) -> str:
    """Adds the decisions of a file; doing it again adds nothing.

    Args:
        desk: The audit and its decisions.
        name: Name of the format.
        content: The file's bytes.
        reviewer: Who brings it.
        of_all: Whether they may bring what others have decided.

    Returns:
        What became of them, in words.

    Raises:
        SettingError: The page takes no such format, or the decisions are of others.
        DataError: The file cannot be read, or a decision cannot be meant for this run; none is saved.
    """
    known = _of_name(name)
    with tempfile.TemporaryDirectory(prefix="gradsift-") as folder:
        path = Path(folder) / f"decisions{known.ending}"
        path.write_bytes(content)
        brought = read_decisions(desk.audit, path, format_name=name)
    others = sorted({decision.reviewer for decision in brought} - {reviewer})
    if others and not of_all:
        raise SettingError(
            f"the file holds decisions of {', '.join(others[:5])}, and you came as {reviewer}: whoever has started the "
            "server imports those of others; nothing was saved"
        )
    return desk.book.bring(brought).words()


def _of_name(name: str) -> Format:
    if name not in OFFERED:
        raise SettingError(f"the page knows the formats {', '.join(OFFERED)}; given {name!r}")
    return OFFERED[name]
