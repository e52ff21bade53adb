"""How an audit shows itself in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from markupsafe import Markup

from gradsift.locations import Location, as_location
from gradsift.printable import printable
from gradsift.report.plots import histogram_of
from gradsift.report.template import fill
from gradsift.table import AuditedRun
from gradsift.writing import new_file

SHOWN = ("rank", "position", "id", "given_label", "suggested_label", "wrong_probability", "score", "reason")
"""Columns of the table that a notebook shows."""

STYLE = Markup(
    "text{fill:#667;font:11px sans-serif}.bar{fill:#8aa0b8}.bar.flagged{fill:#d1603d}"
    ".cut{stroke:#d1603d;stroke-dasharray:4 3;stroke-width:1.5}"
)
"""Colours of a drawing outside of the page."""


@dataclass(frozen=True)
class Plot:
    """A drawing that a notebook shows.

    Attributes:
        svg: The drawing.
    """

    svg: str

    def save(self, path: str | Location) -> Location:
        """Writes the drawing.

        Args:
            path: A new file, such as ``scores.svg``.

        Returns:
            The path.

        Raises:
            OutputError: There is a file already, or it cannot be written.
        """
        with new_file(path) as file:
            file.write_text(self.svg, encoding="utf-8")
        return as_location(path)

    def _repr_svg_(self) -> str:
        """What a notebook shows."""
        return self.svg


def score_plot(audit: AuditedRun) -> Plot:
    """Draws the distribution of the scores and the cut.

    Args:
        audit: The audit.

    Returns:
        The drawing; bar heights grow with the square root of the count, flagged samples lie right of the dashed line.
    """
    return Plot(fill("histogram.svg.j2", {"histogram": histogram_of(audit), "style": STYLE}))


def as_html(
    words: Sequence[str],
    rows: pa.Table,
    class_names: Sequence[str] | None,
    previews: Sequence[Markup] | None = None,
) -> Markup:
    """A few sentences and rows as HTML; everything from data is escaped.

    Args:
        words: Sentences, each a paragraph.
        rows: Rows of an audit's table.
        class_names: Names of the classes.
        previews: How the sample of each row looks, as safe HTML.

    Returns:
        The HTML, without scripts or styles of its own.
    """
    paragraphs = Markup("").join(Markup("<p>{}</p>").format(printable(sentence)) for sentence in words)
    table = [
        {name.replace("_", " "): _cell(name, row[name], class_names) for name in SHOWN}
        for row in rows.select(list(SHOWN)).to_pylist()
    ]
    if previews is not None:
        table = [row | {"sample": preview} for row, preview in zip(table, previews, strict=True)]
    head = Markup("").join(Markup("<th>{}</th>").format(name) for name in (table[0] if table else ()))
    lines = Markup("").join(
        Markup("<tr>{}</tr>").format(Markup("").join(Markup("<td>{}</td>").format(cell) for cell in row.values()))
        for row in table
    )
    return Markup("{}<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(paragraphs, head, lines)


def _cell(name: str, value: Any, class_names: Sequence[str] | None) -> str:
    if value is None:
        return ""
    if name.endswith("_label") and isinstance(value, int) and class_names is not None and 0 <= value < len(class_names):
        return printable(class_names[value])
    return printable(f"{value:.4g}" if isinstance(value, float) else value)
