"""What an audit is asked for, and the clock of its stages."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradsift.data import Samples
from gradsift.engines import Engine, Local
from gradsift.locations import Location
from gradsift.settings import AuditSettings


@dataclass(frozen=True)
class Request:
    """What an audit is asked for, beside where its evidence comes from.

    Attributes:
        settings: The settings.
        groups: Group of each sample, shape (n,), each of which loses the same share.
        class_names: Names of the classes.
        output: Run directory to write; a temporary one where ``None``.
        overwrite: Whether a whole run, or unfinished work of another one, may be replaced.
        source: What a command line needs to replay the run.
        show_progress: Whether to show progress bars.
        engine: What maps stages over shards.
        test_set: The test set, whose samples are looked for in the training set.
    """

    settings: AuditSettings
    groups: np.ndarray | None = None
    class_names: Sequence[str] | None = None
    output: str | Location | None = None
    overwrite: bool = False
    source: Mapping[str, Any] = field(default_factory=dict)
    show_progress: bool = True
    engine: Engine = field(default_factory=Local)
    test_set: Samples | None = None

    def config(self, batch_size: int) -> dict[str, Any]:
        """What goes into ``config.yaml``.

        Args:
            batch_size: Samples a batch, settled.

        Returns:
            Plain values.
        """
        return {"settings": self.settings.to_dict() | {"batch_size": batch_size}, "source": dict(self.source)}


class Clock:
    """Seconds spent in each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Counts the time of a stage.

        Args:
            name: Its name; what is counted under it already stays.

        Yields:
            Nothing.
        """
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
