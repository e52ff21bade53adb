"""Runs a data set through per-sample gradients and writes the shards.

While a batch is computed, the next one is read and the last shard is written, each in a thread of its own.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from gradsift.data import Samples
from gradsift.data.batch import FEATURES, Batch, table_of
from gradsift.errors import ModelError
from gradsift.gradients import Batcher, PerSampleGradients, Reduced
from gradsift.gradients.batches import each_batch
from gradsift.gradients.not_finite import refuse_not_finite
from gradsift.progress import progress
from gradsift.store.partition import Partition
from gradsift.store.run_directory import RunDirectory
from gradsift.tasks import ConditionedTask, LabelledTask, Task, kind_of

logger = logging.getLogger(__name__)

CONDITION_LOSS = "condition_loss"
"""Name of the losses under every condition, shape (n, K)."""
SURROUNDED = ("multilabel", "value")
"""Kinds of labels whose detectors read a sample's surroundings among the inputs, where these are a table."""


class ReadAhead:
    """Reads a data set one batch ahead, in a thread of its own; a context manager.

    Only one thread reads at a time. The calling thread does it where reading ahead cannot pay or would not be safe: arrays,
    of which a batch is a mere copy; a data set that computes with the audited parameters, or draws from the generators
    that all threads share, whose samples could then depend on what is computed meanwhile; one that another thread may
    not read, such as an SQLite connection.

    Args:
        samples: The data set.
        parameters: The audited parameters by name.
        on: Whether to read ahead at all.
    """

    def __init__(self, samples: Samples, parameters: Mapping[str, nn.Parameter], *, on: bool = True) -> None:
        self._samples, self._parameters = samples, parameters
        self._on: bool | None = None if on and samples.arrays is None else False  # None: the first read decides
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gradsift-read")
        self._ahead: tuple[np.ndarray, Future[Batch]] | None = None

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Forgets what was read ahead."""
        self._thread.shutdown(cancel_futures=True)

    def batch(self, positions: np.ndarray, following: np.ndarray | None = None) -> Batch:
        """Several samples, collated; then begins to read those that follow.

        Args:
            positions: Which ones, in order.
            following: Those that will be asked for next; ``None`` where that is not known.

        Returns:
            As :meth:`gradsift.data.Samples.batch`.
        """
        batch = self._take(positions)
        if self._on and following is not None:
            reading = self._thread.submit(_read, self._samples, following, torch.is_grad_enabled())
            self._ahead = following, reading
        return batch

    def _take(self, positions: np.ndarray) -> Batch:
        if self._ahead is not None:
            (expected, reading), self._ahead = self._ahead, None
            if (error := reading.exception()) is not None:
                # What is wrong with a sample shows again below; what this thread alone may do is done there.
                logger.debug("the data set is read ahead no longer: %s: %s", type(error).__name__, error)
                self._on = False
            elif np.array_equal(expected, positions):
                return reading.result()
        if self._on is None:
            batch, self._on = _read_apart(self._samples, positions, self._parameters)
            return batch
        return self._samples.batch(positions)


class WriteBehind:
    """Writes the last shard while the next one is computed; a context manager, left when all is written.

    Args:
        run: Where to write.
        checkpoint: Number of the checkpoint.
        on: Whether to write in a thread of its own.
    """

    def __init__(self, run: RunDirectory, checkpoint: int, *, on: bool = True) -> None:
        self._run, self._checkpoint, self._on = run, checkpoint, on
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gradsift-write")
        self._writing: Future[None] | None = None

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Waits for the last shard; raises what went wrong with it, unless something else did."""
        self._thread.shutdown()
        if kind is None and self._writing is not None:
            self._writing.result()

    def write(self, shard: int, parts: list[dict[str, np.ndarray]]) -> None:
        """Writes a shard, once the one before it is written.

        Args:
            shard: Its number.
            parts: The statistics of its batches, in order.
        """
        if self._writing is not None:
            self._writing.result()
        self._writing = self._thread.submit(self._write, shard, parts)
        if not self._on:
            self._writing.result()

    def _write(self, shard: int, parts: list[dict[str, np.ndarray]]) -> None:
        whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        self._run.write_shard(self._checkpoint, shard, whole)


def collect(
    run: RunDirectory,
    gradients: PerSampleGradients,
    task: Task,
    samples: Samples,
    batcher: Batcher,
    *,
    shard_size: int,
    shards: Sequence[int] | None = None,
    checkpoint: int = 0,
    show_progress: bool = True,
    overlap: bool = True,
) -> list[int]:
    """Fills shards of one checkpoint; whole shards of an earlier try are kept.

    Args:
        run: Where to write.
        gradients: What to compute.
        task: The task, for labels and predictions.
        samples: The data set.
        batcher: The batch size; halved when memory runs out, from that batch on.
        shard_size: Samples a shard.
        shards: Numbers of the shards to fill, in ascending order; all where left out.
        checkpoint: Number of the checkpoint.
        show_progress: Whether to show a progress bar.
        overlap: Whether to read and write in threads of their own; the shards are the same without.

    Returns:
        The shards that were computed; the others were whole. :meth:`RunDirectory.record_shards` follows once all shards of
        the data set are there.
    """
    partition = Partition(len(samples), shard_size)
    mine = range(len(partition)) if shards is None else shards
    left = [shard for shard in mine if not run.has_shard(checkpoint, shard)]
    following = dict(pairwise(left))

    def read(positions: np.ndarray) -> Batch:
        shard, after = int(positions[0]) // shard_size, int(positions[-1]) + 1
        if after == partition.rows(shard).stop:
            if shard not in following:
                return reader.batch(positions)
            shard, after = following[shard], partition.rows(following[shard]).start
        return reader.batch(positions, np.arange(after, min(after + batcher.size, partition.rows(shard).stop)))

    def reduce(positions: np.ndarray, batch: Batch) -> dict[str, np.ndarray]:
        return reduce_batch(gradients, task, batch, positions)

    total = partition.count(mine)
    with (
        progress("gradients", total, show=show_progress) as bar,
        ReadAhead(samples, gradients.parameters, on=overlap) as reader,
        WriteBehind(run, checkpoint, on=overlap) as writer,
    ):
        bar.advance(total - partition.count(left))
        for shard in left:
            parts = each_batch(reduce, read, partition.positions(shard), batcher, bar=bar)
            writer.write(shard, [part for _, part in parts])
    return left


def reduce_batch(
    gradients: PerSampleGradients, task: Task, batch: Batch, positions: np.ndarray
) -> dict[str, np.ndarray]:
    """Everything that is stored about one batch.

    Args:
        gradients: What to compute.
        task: The task.
        batch: The batch.
        positions: Position of every row.

    Returns:
        Name of the statistic to array, first axis = samples.

    Raises:
        DataError: Samples have infinite losses or gradients; names them.
        SampleError: Samples cannot be used.
    """
    reduced = gradients(batch)
    stored = {"loss": reduced.losses, **reduced.statistics, **_labels(task, reduced, batch)}
    if isinstance(task, ConditionedTask):
        stored |= _conditions(gradients, task, batch)
    if isinstance(batch, dict) and FEATURES in batch and "features" not in stored:
        stored["features"] = batch[FEATURES]
    masked = {"label"} if kind_of(task) in ("multilabel", "value") else set()  # NaN there is the task's business
    checked = {name: values for name, values in stored.items() if name not in masked}
    refuse_not_finite(checked, positions, lambda: gradients.where_not_finite(batch))
    arrays = {name: values.detach().cpu().numpy() for name, values in stored.items()}
    if isinstance(batch, dict) and "id" in batch:
        arrays["id"] = np.asarray([str(name.item() if isinstance(name, Tensor) else name) for name in batch["id"]])
    return arrays


def _labels(task: Task, reduced: Reduced, batch: Batch) -> dict[str, Tensor]:
    if not isinstance(task, LabelledTask):
        return {}
    predictions, labels = task.predictions(reduced.outputs).detach(), task.labels(batch)
    if predictions.ndim != 2 or len(predictions) != len(reduced.losses):
        raise ModelError(
            f"the task's predictions(outputs) gave shape {tuple(predictions.shape)} for {len(reduced.losses)} samples: "
            "probabilities (or values) of shape (n, K) are needed, not the most probable class"
        )
    table = table_of(batch) if kind_of(task) in SURROUNDED else None
    return {"prediction": predictions, "label": labels} | ({} if table is None else {"input": table})


def _conditions(gradients: PerSampleGradients, task: ConditionedTask, batch: Batch) -> dict[str, Tensor]:
    """The given condition of each sample, its loss under every condition, and features where the inputs are few numbers."""
    losses = [gradients.losses(task.under(batch, condition)) for condition in range(task.conditions)]
    features = task.features(batch)
    known = {"label": task.labels(batch), CONDITION_LOSS: torch.stack(losses, dim=1)}
    return known | ({} if features is None else {"features": features})


def _read(samples: Samples, positions: np.ndarray, with_grad: bool) -> Batch:
    """Reads in another thread as in the one that asks; whether gradients are recorded is a thread's own."""
    with torch.set_grad_enabled(with_grad):
        return samples.batch(positions)


def _read_apart(samples: Samples, positions: np.ndarray, parameters: Mapping[str, nn.Parameter]) -> tuple[Batch, bool]:
    """A batch, and whether its reading uses nothing that is used while gradients are computed."""
    audited = {id(parameter) for parameter in parameters.values()}
    touched = False

    def note(module: nn.Module, _inputs: Any) -> None:
        nonlocal touched
        touched |= any(id(parameter) in audited for parameter in module.parameters(recurse=False))

    before, handle = _shared_generators(), register_module_forward_pre_hook(note)
    try:
        batch = samples.batch(positions)
    finally:
        handle.remove()
    return batch, not touched and _shared_generators() == before


def _shared_generators() -> tuple[Any, ...]:
    state: Any = np.random.get_state()  # noqa: NPY002  # the one that data sets draw from
    return torch.get_rng_state().numpy().tobytes(), state[1].tobytes(), state[2], random.getstate()
