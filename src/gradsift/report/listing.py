"""What is flagged, as the page's own script lists, filters and saves it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from gradsift.printable import printable
from gradsift.table import AuditedRun

MOST = 50_000
"""Most flagged samples in the page, which takes about 200 bytes for each; the table holds all."""


def script() -> Markup:
    """The page's script, which stands in the page."""
    return Markup(files("gradsift.report").joinpath("templates/flagged.js").read_text(encoding="utf-8"))  # ours


def policy() -> str:
    """What the page may do: run this script alone, and load nothing."""
    digest = base64.b64encode(hashlib.sha256(script().encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; media-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def listing(audit: AuditedRun, name_of: Callable[[Any], str]) -> dict[str, Any] | None:
    """The flagged samples as columns, the most detrimental first, at most :data:`MOST`.

    Args:
        audit: The audit.
        name_of: A label in words.

    Returns:
        What the script reads; ``None`` where nothing is flagged. Labels and kinds are numbers of the names beside them.
    """
    positions = audit.flagged_positions[:MOST]
    if not len(positions):
        return None
    rows = audit.table.take(positions)
    ids = [printable(value) for value in rows["id"].to_pylist()]
    return {
        "position": positions.tolist(),
        "id": None if ids == [str(value) for value in positions.tolist()] else ids,
        "given": _coded([name_of(value) if value is not None else "" for value in rows["given_label"].to_pylist()]),
        "suggested": _coded(
            [name_of(value) if value is not None else "" for value in rows["suggested_label"].to_pylist()]
        ),
        "kind": _coded([kind.replace("_", " ") for kind in rows["reason_kind"].to_pylist()]),
        "score": [float(f"{score:.5g}") for score in rows["score"].to_pylist()],
        "reason": [printable(reason) for reason in rows["reason"].to_pylist()],
    }


def as_data(listed: dict[str, Any] | None) -> Markup:
    """The listing as JSON that may stand within ``<script type="application/json">``.

    Args:
        listed: The listing.

    Returns:
        JSON without ``<``, so that no text of the data ends the element.
    """
    text = json.dumps(listed, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))  # JSON without markup


def _coded(words: list[str]) -> dict[str, Any]:
    shown = [printable(word) for word in words]
    codes = {name: code for code, name in enumerate(sorted(set(shown)))}
    return {"names": list(codes), "of": [codes[name] for name in shown]}
