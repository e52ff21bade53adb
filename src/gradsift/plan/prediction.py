"""What an audit will take, put together from a rehearsal."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple

from torch import nn

from gradsift.data import fingerprint_samples
from gradsift.gradients import Batcher, device_of, probe
from gradsift.gradients.heap import keep_freed_memory
from gradsift.gradients.model_state import unwrapped
from gradsift.plan.batches import Seconds, run_batches
from gradsift.plan.memory import DeviceMemory, HostMemory
from gradsift.plan.rehearsal import Rehearsal, rehearse
from gradsift.preparation import prepare
from gradsift.settings import AuditSettings
from gradsift.store import fingerprint_model
from gradsift.tasks import Task

BUDGET = 4.0
"""Seconds for the rehearsal of what comes after the gradients."""
FEW_ROWS, MANY_ROWS = 512, 16_384
"""Rows on which it is rehearsed; the line through both times is followed to all rows."""
REPEAT, LATER = 0.1, 0.25
"""Shares by which two runs of the same audit differ, and by which what comes after the gradients may be off."""
HEADER = 128
"""Bytes of a ``.npy`` file before its numbers."""
SHARDS_HELD = 3
"""A shard's batches, the same put together, and the shard before it that is being written."""
READER_HELD = 32 * 2**20
"""Bytes that the thread that reads ahead comes to leave unused on a heap of its own; seen over hundreds of batches."""
TABLE_HELD = 1.5
"""Times that the table's bytes are held while it is built; see the growth in docs/performance-scaling.md."""


@dataclass(frozen=True)
class Plan:
    """What an audit will take.

    Attributes:
        samples: Samples in the data set.
        batch_size: Samples a batch.
        coverage: Which backend serves how many parameters.
        seconds: Predicted seconds of the whole audit, from a model and a data set that are loaded.
        seconds_low: Lower end of what it may be.
        seconds_high: Upper end.
        stages: The same by the stages of ``timing.json``: ``prepare`` (start-up, whatever the number of samples),
            ``gradients``, ``scores`` (detectors and table), ``report`` (the page).
        probed: Samples that the prediction comes from.
        memory_bytes: Predicted peak memory of the process beyond model and data set.
        device_memory_bytes: The same of a GPU; ``None`` on the CPU.
        disk_bytes: Size of the shards.
        table_bytes: Size of all else in the run directory: table, page, JSON.
    """

    samples: int
    batch_size: int
    coverage: str
    seconds: float
    seconds_low: float
    seconds_high: float
    stages: dict[str, float]
    probed: int
    memory_bytes: int
    device_memory_bytes: int | None
    disk_bytes: int
    table_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def plan(
    model: nn.Module, train_set: Any, *, task: str | Task = "classification", settings: AuditSettings | None = None
) -> Plan:
    """Predicts time, memory and disk by a rehearsal: the start-up, some batches, then scores and page of their rows.

    The batches are ones of the audit, spread over the data set, as samples may differ in length. Nothing is left on disk.
    On Linux the process's high-water mark of memory (``VmHWM``, ``ru_maxrss``) starts anew.

    Args:
        model: The trained model, in eval mode.
        train_set: The data set.
        task: The task or its name.
        settings: The settings of the audit.

    Returns:
        The plan.

    Raises:
        DataError: The data set cannot be audited as it is.
        ModelError: The model is in the wrong mode, mixes the samples of a batch, or gives no loss for each sample.
        SettingError: A setting does not fit the task.
    """
    settings, model = settings or AuditSettings(), unwrapped(model)
    keep_freed_memory()  # as the audit does
    host, device = HostMemory(), DeviceMemory(device_of(model))
    began = time.perf_counter()
    ready = prepare(model, train_set, task, settings)
    fingerprint_model(model)
    checked = probe(ready.gradients, ready.samples, ready.in_float32, batch_size=ready.batch_size)
    before = time.perf_counter()
    fingerprint_samples(ready.samples)
    begun = time.perf_counter()
    overlap = device_of(model).type != "cpu"  # as in the audit
    batches, rows, batch_size = run_batches(ready, Batcher(ready.batch_size), ready.shard_size, overlap=overlap)
    in_gradients, on_device = host.peak(), device.peak()
    host.restart()

    size = len(ready.samples)
    rehearsals = _Rehearsals.of(partial(rehearse, model, ready, settings, checked, rows), size)
    preparing, fingerprinting = begun - began, begun - before
    stages = _stage_seconds(batches, rehearsals, preparing, fingerprinting, overlap=overlap)
    seconds = sum(stages.values())
    unsure = math.hypot(
        REPEAT * seconds, batches.unsure * stages["gradients"], LATER * (stages["scores"] + stages["report"])
    )
    row_bytes = sum(values[:1].nbytes for values in rows.values())
    held = row_bytes * (SHARDS_HELD * min(size, ready.shard_size) - len(rows["loss"]))
    reading = READER_HELD if overlap and ready.samples.arrays is None else 0
    return Plan(
        samples=size,
        batch_size=batch_size,
        coverage=str(ready.gradients.coverage),
        seconds=seconds,
        seconds_low=max(seconds - unsure, 0.5 * seconds),
        seconds_high=seconds + unsure,
        stages=stages,
        probed=batches.probed,
        memory_bytes=reading + max(in_gradients + held, host.peak() + rehearsals.further_table_bytes()),
        device_memory_bytes=on_device,
        disk_bytes=row_bytes * size + HEADER * len(rows) * math.ceil(size / ready.shard_size),
        table_bytes=rehearsals.file_bytes(),
    )


def _stage_seconds(
    batches: Seconds, rehearsals: _Rehearsals, preparing: float, fingerprinting: float, *, overlap: bool
) -> dict[str, float]:
    """Predicted seconds of each stage of ``timing.json``.

    Args:
        batches: What batches of gradients took.
        rehearsals: What came after them.
        preparing: Seconds of the start-up.
        fingerprinting: Seconds of the data set's fingerprint, which the page takes once more.
        overlap: Whether shards are written while gradients are computed.
    """
    writing = rehearsals.writing()
    return {
        "prepare": preparing,
        "gradients": max(batches.total, writing) if overlap else batches.total + writing,
        "scores": rehearsals.seconds("scores"),
        "report": rehearsals.seconds("page") + fingerprinting,
    }


class _Rehearsals(NamedTuple):
    """The first rehearsal, a second one of as many rows, and one of more rows; a single one where rows are few."""

    size: int
    cold: Rehearsal
    warm: Rehearsal
    many: Rehearsal

    @classmethod
    def of(cls, rehearsed: Callable[[int], Rehearsal], size: int) -> _Rehearsals:
        """Runs them.

        Args:
            rehearsed: Runs a rehearsal of so many rows.
            size: Rows of the audit.
        """
        cold = rehearsed(min(size, FEW_ROWS))
        if size <= FEW_ROWS:
            return cls(size, cold, cold, cold)
        warm = rehearsed(FEW_ROWS)
        affordable = int(FEW_ROWS * BUDGET / max(warm.write + warm.scores + warm.page, 1e-6))
        return cls(size, cold, warm, rehearsed(min(size, MANY_ROWS, max(2 * FEW_ROWS, affordable))))

    def seconds(self, stage: str) -> float:
        """Seconds of a stage for all rows.

        Args:
            stage: Its name among the attributes of a rehearsal.
        """
        first, second, third = (float(getattr(rehearsal, stage)) for rehearsal in (self.cold, self.warm, self.many))
        slope = max(0.0, third - second) / max(self.many.rows - self.warm.rows, 1)
        return first + slope * (self.size - self.cold.rows)

    def writing(self) -> float:
        """Seconds of writing all shards."""
        return self.many.write / self.many.rows * self.size

    def further_table_bytes(self) -> int:
        """Memory of the table of all rows, beyond that of the largest rehearsal."""
        return round(TABLE_HELD * self.many.table_bytes * (self.size - self.many.rows) / self.many.rows)

    def file_bytes(self) -> int:
        """Disk that the table, the page and the JSON files of all rows take."""
        return self.many.table_file_bytes * self.size // self.many.rows + self.many.page_bytes
