"""What the commands write with: results to standard output, everything else to standard error.

Texts hold what stands in data, file names and errors. So they are never read as markup, and their control characters are
written as escapes: see :func:`gradsift.printable.printable`.
"""

from __future__ import annotations

import json
import logging
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.highlighter import NullHighlighter
from rich.logging import RichHandler
from rich.table import Table
from rich.text import Text
from typer import Exit

from gradsift.printable import printable
from gradsift.progress import SHOWN

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def be_quiet(quiet: bool) -> None:
    """Shows nothing but warnings, errors and what ``--json`` prints.

    Args:
        quiet: Whether to; ``False`` shows all again.
    """
    console.quiet = quiet
    SHOWN.set(not quiet)


def say(text: object, style: str = "") -> None:
    """Writes a sentence of the result to standard output.

    Args:
        text: The sentence, in which data may be quoted.
        style: Style of rich, such as ``bold``.
    """
    console.print(Text(printable(text, keep="\n"), style), soft_wrap=True)


def warn(text: object, style: str = "", title: str = "") -> None:
    """Writes a sentence to standard error.

    Args:
        text: The sentence, in which data may be quoted.
        style: Style of the title.
        title: What stands before it, such as the kind of error.
    """
    errors.print(Text.assemble((title, style), printable(text, keep="\n\t")), soft_wrap=True)


def print_json(content: Any) -> None:
    """Writes a result for scripts, undecorated; numbers that JSON has no word for become ``null``.

    Args:
        content: Plain values.
    """
    sys.stdout.write(json.dumps(_finite(content), indent=2, allow_nan=False, default=str) + "\n")


@contextmanager
def resumable(what: str) -> Iterator[None]:
    """Says what Ctrl-C leaves behind.

    Args:
        what: What is being done.

    Yields:
        Nothing.

    Raises:
        Exit: With code 130, on Ctrl-C.
    """
    try:
        yield
    except KeyboardInterrupt:
        warn(f"Interrupted. Give the same command again: it goes on with {what} where it stopped.")
        raise Exit(130) from None


def print_table(rows: list[dict[str, str]], title: str | None = None) -> None:
    """Writes rows as a table; numbers to the right.

    Args:
        rows: Column to text, the same columns in every row.
        title: What stands above it.
    """
    table = Table(title=None if title is None else Text(printable(title)), title_justify="left")
    for place, name in enumerate(rows[0] if rows else ()):
        table.add_column(Text(printable(name)), justify="left" if place == 0 else "right")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row.values()))
    console.print(table)


def log_to_terminal(level: int) -> None:
    """Sends what libraries log, and Python's warnings, to standard error.

    Args:
        level: The least level that is shown.
    """
    handler = RichHandler(console=errors, show_path=False, show_time=False, highlighter=NullHighlighter())
    handler.setFormatter(_PrintableFormatter("%(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)


class _PrintableFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """The message, which may quote data."""
        return printable(super().format(record), keep="\n\t")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
