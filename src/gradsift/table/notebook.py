"""How an audit shows itself in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from markupsafe import Markup

from gradsift.printable import printable

SHOWN = ("rank", "position", "id", "given_label", "suggested_label", "score", "reason")
"""Columns of the table that a notebook shows."""


def as_html(words: Sequence[str], rows: pa.Table, class_names: Sequence[str] | None) -> Markup:
    """A few sentences and rows as HTML; everything from data is escaped.

    Args:
        words: Sentences, each a paragraph.
        rows: Rows of an audit's table.
        class_names: Names of the classes.

    Returns:
        The HTML, without scripts or styles of its own.
    """
    paragraphs = Markup("").join(Markup("<p>{}</p>").format(printable(sentence)) for sentence in words)
    head = Markup("").join(Markup("<th>{}</th>").format(name.replace("_", " ")) for name in SHOWN)
    lines = Markup("").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(Markup("<td>{}</td>").format(_cell(name, row[name], class_names)) for name in SHOWN)
        )
        for row in rows.select(list(SHOWN)).to_pylist()
    )
    return Markup("{}<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(paragraphs, head, lines)


def _cell(name: str, value: Any, class_names: Sequence[str] | None) -> str:
    if value is None:
        return ""
    if name.endswith("_label") and isinstance(value, int) and class_names is not None and 0 <= value < len(class_names):
        return printable(class_names[value])
    return printable(f"{value:.4g}" if isinstance(value, float) else value)
