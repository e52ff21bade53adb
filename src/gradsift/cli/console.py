"""What the commands write with: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table
from typer import Exit

console = Console(highlight=False)
errors = Console(stderr=True)


def print_json(content: Any) -> None:
    """Writes a result for scripts, undecorated.

    Args:
        content: Plain values.
    """
    sys.stdout.write(json.dumps(content, indent=2) + "\n")


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
        errors.print(f"Interrupted. Give the same command again: it goes on with {what} where it stopped.")
        raise Exit(130) from None


def print_table(rows: list[dict[str, str]], title: str | None = None) -> None:
    """Writes rows as a table; numbers to the right.

    Args:
        rows: Column to text, the same columns in every row.
        title: What stands above it.
    """
    table = Table(title=title, title_justify="left")
    for place, name in enumerate(rows[0]):
        table.add_column(name, justify="left" if place == 0 else "right")
    for row in rows:
        table.add_row(*row.values())
    console.print(table)
