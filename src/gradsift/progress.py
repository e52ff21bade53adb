"""Progress bars for whatever may take over two seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from gradsift.printable import printable

SHOWN: ContextVar[bool] = ContextVar("gradsift_bars_shown", default=True)
"""Whether bars and announcements may appear at all; ``gradsift --quiet`` turns them off."""


class Bar:
    """A progress bar that appears only once the work has lasted two seconds.

    Args:
        description: What is being done.
        total: Steps in all.
        unit: What a step is, in the plural; used for the rate.
        show: Whether to show anything.
        patience: Seconds before the bar appears.
    """

    def __init__(self, description: str, total: int, unit: str, show: bool, patience: float = 2.0) -> None:
        self._description, self._total, self._unit = description, total, unit
        self._show = show and SHOWN.get()
        self._patience, self._start, self._done = patience, time.monotonic(), 0
        self._progress: Progress | None = None

    def advance(self, steps: int = 1) -> None:
        """Counts steps that are done.

        Args:
            steps: How many more are done.
        """
        self._done += steps
        elapsed = time.monotonic() - self._start
        if self._show and self._progress is None and elapsed >= self._patience:
            self._progress = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TaskProgressColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}", markup=False),
                TimeRemainingColumn(),
                console=Console(file=sys.stderr),
                transient=True,
            )
            self._progress.add_task(printable(self._description), total=self._total, rate="")
            self._progress.start()
        if self._progress is not None:
            rate = f"{self._done / max(elapsed, 1e-9):,.1f} {self._unit}/s"
            self._progress.update(self._progress.task_ids[0], completed=self._done, rate=rate)

    def close(self) -> None:
        """Takes the bar off the screen."""
        if self._progress is not None:
            self._progress.stop()


def announce(text: str) -> None:
    """Writes a line to standard error, where progress bars are.

    Args:
        text: The line.
    """
    if SHOWN.get():
        Console(file=sys.stderr).print(printable(text), markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress(description: str, total: int, *, unit: str = "samples", show: bool = True) -> Iterator[Bar]:
    """Opens a progress bar on standard error with the rate and the time left.

    Args:
        description: What is being done.
        total: Steps in all.
        unit: What a step is, in the plural.
        show: Whether to show anything; ``False`` makes it silent.

    Yields:
        The bar; call ``advance`` on it.
    """
    bar = Bar(description, total, unit, show)
    try:
        yield bar
    finally:
        bar.close()
