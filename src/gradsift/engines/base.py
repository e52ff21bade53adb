"""What an engine is: it maps a stage over the shards of a data set. Shards know nothing of each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gradsift.store.partition import Partition

Load = Callable[[], tuple[Any, Any, Any]]
"""Gives a worker its model, data set and task."""


@dataclass(frozen=True)
class Share:
    """What a worker has done: all that comes back from it, for the shards themselves lie in the run directory.

    Attributes:
        worker: The machine and the process.
        shards: Number of shards that are whole now.
        computed: How many of these were computed; the others were whole before.
        samples: Samples of all of them.
        seconds: How long it took.
        cpu_seconds: How long its process has computed in it, which other work on the machine does not lengthen.
        batch_size: Samples a batch at the end, fewer than at the beginning where memory ran out.
    """

    worker: str
    shards: int
    computed: int
    samples: int
    seconds: float
    cpu_seconds: float
    batch_size: int

    def __add__(self, other: Share) -> Share:
        """Both shares of one worker."""
        return Share(
            self.worker,
            self.shards + other.shards,
            self.computed + other.computed,
            self.samples + other.samples,
            self.seconds + other.seconds,
            self.cpu_seconds + other.cpu_seconds,
            min(self.batch_size, other.batch_size),
        )


class Stage(Protocol):
    """A map over shards; each shard is written whole, with its entry, or not at all."""

    def setup(self) -> None:
        """Gets ready, once in each worker: loads the model and opens the data set."""
        ...

    def run(self, shards: Sequence[int], *, show_progress: bool = False) -> Share:
        """Fills some shards.

        Args:
            shards: Their numbers, in ascending order; those that are whole already are left as they are.
            show_progress: Whether to show a progress bar.

        Returns:
            What was done.
        """
        ...


class Engine(Protocol):
    """Runs stages.

    Attributes:
        load: How workers get model and data; ``None`` where they are those of this process.
    """

    @property
    def load(self) -> Load | None:
        """How workers get model and data."""
        ...

    def map(self, stage: Stage, partition: Partition, *, show_progress: bool = True) -> list[Share]:
        """Fills all shards.

        Args:
            stage: The stage.
            partition: The shards.
            show_progress: Whether to show a progress bar.

        Returns:
            What each worker has done.
        """
        ...
