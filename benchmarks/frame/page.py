"""Pages in ``docs``, made of rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from frame.rows import Row
from gradsift.evaluation.statistics import Estimate, estimate

DOCS = Path(__file__).resolve().parents[2] / "docs"


def write_page(name: str, lines: Iterable[str]) -> None:
    """Writes a page.

    Args:
        name: File in ``docs``.
        lines: Its lines.
    """
    path = DOCS / name
    path.write_text("\n".join(lines).rstrip() + "\n")
    print(f"wrote {path}")


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """A table in Markdown.

    Args:
        columns: Headings.
        rows: Cells of each row.

    Returns:
        Its lines.
    """
    lines = [f"| {' | '.join(map(str, cells))} |" for cells in (columns, *rows)]
    return [lines[0], "|" + "---|" * len(columns), *lines[1:]]


def machines(rows: Iterable[Row]) -> str:
    """The machines that rows were made on."""
    return "; ".join(sorted({row["machine"] for row in rows}))


def paired(values: Mapping[int, float], control: Mapping[int, float]) -> Estimate | None:
    """Mean difference of two arms, paired by seed, with its interval; ``None`` where they share no seed.

    Args:
        values: Seed to value.
        control: The same of what it is compared with.
    """
    seeds = sorted(values.keys() & control.keys())
    return estimate([values[seed] - control[seed] for seed in seeds]) if seeds else None


def interval(values: Iterable[float] | Estimate, digits: int = 3, *, sign: str = "", alone: str = "") -> str:
    """Mean and half width of the 95 % interval, for a cell.

    Args:
        values: One a seed, or their estimate.
        digits: Behind the point.
        sign: ``"+"`` where it is always shown.
        alone: What stands behind the mean of a single value, which has no interval.

    Returns:
        Such as ``"0.812 ± 0.013"``; empty where there are no values.
    """
    if not isinstance(values, Estimate):
        values = list(values)
        if not values:
            return ""
        values = estimate(values)
    width = f" ± {values.half_width:.{digits}f}" if values.count > 1 else alone
    return f"{values.mean:{sign}.{digits}f}{width}"
