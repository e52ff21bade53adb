"""Stage *collect*: per-sample gradients of a model, shard by shard."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradsift.engines.base import Load, Share
from gradsift.errors import DataError, ModelError, RunDirectoryError
from gradsift.gradients import Batcher
from gradsift.gradients.heap import keep_freed_memory
from gradsift.gradients.model_state import unwrapped
from gradsift.locations import Location
from gradsift.preparation import Preparation, prepare
from gradsift.settings import AuditSettings
from gradsift.settled import beside_data, signs_of
from gradsift.store import RunDirectory, collect
from gradsift.store.partition import Partition
from gradsift.store.shards import worker
from gradsift.store.unfinished import MANIFEST
from gradsift.trajectory import Trajectory


@dataclass(frozen=True)
class Sent:
    """Model, data set and task as they are, which travel to the worker."""

    model: Any
    train_set: Any
    task: Any

    def __call__(self) -> tuple[Any, Any, Any]:
        """The three."""
        return self.model, self.train_set, self.task


@dataclass(frozen=True)
class Preparing:
    """What a worker does before its first shard: it loads and prepares by itself, and compares with the run.

    Attributes:
        load: Gives model, data set and task.
        settings: The settings.
        signs: By what the worker tells whether it would write shards of the same run; see ``signs_of``.
        trajectory: What was recorded along training.
        class_names: Names of the classes.
    """

    load: Load
    settings: AuditSettings
    signs: Mapping[str, Any]
    trajectory: Trajectory | None = None
    class_names: Sequence[str] | None = None

    def __call__(self) -> Preparation:
        """What the worker has prepared.

        Raises:
            ModelError: The worker's model is another one than the run's.
            DataError: Its data set or anything else is.
        """
        model, train_set, task = self.load()
        model = unwrapped(model)
        ready = prepare(model, train_set, task, self.settings, self.trajectory, self.class_names)
        own = signs_of(ready, beside_data(model, ready, self.trajectory, self.settings))
        others = [name for name, value in own.items() if value != self.signs[name]]
        if others:
            kind = ModelError if others == ["model"] else DataError
            raise kind(
                f"this worker would write shards of another run, {' and '.join(others)} differ: give every worker the same "
                "files and the same versions"
            )
        return ready


class CollectShards:
    """Fills the shards of a run; what is prepared already stays in its process, a worker elsewhere prepares by itself.

    Args:
        run: The run directory, which has been begun.
        batch_size: Samples a batch.
        preparing: What a worker elsewhere does first.
        ready: What is prepared in this process.

    Attributes:
        device: What gradients are computed on, such as ``cuda``.
    """

    def __init__(
        self, run: RunDirectory, batch_size: int, preparing: Preparing, ready: Preparation | None = None
    ) -> None:
        final = run.final
        self._final = final.absolute() if isinstance(final, Path) else final
        self._batch_size, self._preparing = batch_size, preparing
        self._ready, self._run = ready, run
        self.device = str(preparing.signs["device"])

    def __getstate__(self) -> dict[str, Any]:
        """What travels to a worker."""
        return self.__dict__ | {"_ready": None, "_run": None}

    def setup(self) -> None:
        """Prepares, where that is not done.

        Raises:
            RunDirectoryError: This machine does not see the run directory.
        """
        keep_freed_memory()
        self._run = self._run or _seen(self._final)
        self._ready = self._ready or self._preparing()
        self._batcher = Batcher(self._batch_size)

    def run(self, shards: Sequence[int], *, show_progress: bool = False) -> Share:
        """Computes and writes the shards that are not whole."""
        ready, began, computing = self._ready, time.perf_counter(), time.process_time()
        if ready is None:
            raise RuntimeError("call setup() first")
        device = next(iter(ready.gradients.parameters.values())).device
        computed = collect(
            self._run,
            ready.gradients,
            ready.task,
            ready.samples,
            self._batcher,
            shard_size=ready.shard_size,
            shards=shards,
            show_progress=show_progress,
            overlap=device.type != "cpu",  # docs/performance-scaling.md: nothing is gained
        )
        samples = Partition(len(ready.samples), ready.shard_size).count(shards)
        seconds, computing = time.perf_counter() - began, time.process_time() - computing
        return Share(worker(), len(shards), len(computed), samples, seconds, computing, self._batcher.size)


def _seen(final: Location) -> RunDirectory:
    """The run that the driver has begun, as a worker elsewhere sees it."""
    run = RunDirectory.joining(final)
    if not (run.path / MANIFEST).exists():
        raise RunDirectoryError(
            f"this machine does not see {run.path}, which the command has begun: name a folder that all machines share "
            "under the same path, or a URL"
        )
    return run
