"""Predicted time, memory and disk of an audit, from a few batches, before anything runs."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from gradsift.gradients import activation_bytes, device_of
from gradsift.preparation import prepare
from gradsift.settings import AuditSettings
from gradsift.store.collect import reduce_batch
from gradsift.tasks import Task

BATCHES = 3


@dataclass(frozen=True)
class Plan:
    """What an audit will take.

    Attributes:
        samples: Samples in the data set.
        batch_size: Samples a batch.
        coverage: Which road serves how many parameters.
        seconds: Predicted seconds for all gradients, without the detectors.
        memory_bytes: Predicted peak memory beyond the data set: weights, activations with their gradients, one shard.
        disk_bytes: Predicted size of the shards.
    """

    samples: int
    batch_size: int
    coverage: str
    seconds: float
    memory_bytes: int
    disk_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def plan(
    model: nn.Module, train_set: Any, *, task: str | Task = "classification", settings: AuditSettings | None = None
) -> Plan:
    """Predicts time, memory and disk by running a few batches.

    Args:
        model: The trained model, in eval mode.
        train_set: The data set.
        task: The task or its name.
        settings: The settings of the audit.

    Returns:
        The plan.
    """
    settings = settings or AuditSettings()
    ready = prepare(model, train_set, task, settings)
    samples, size = ready.samples, min(ready.batch_size, len(ready.samples))
    starts = np.linspace(0, len(samples) - size, BATCHES + 1).astype(int)
    seconds, row_bytes = [], 0
    for start in starts:  # the first one warms up and is not counted
        began = time.perf_counter()
        arrays = reduce_batch(ready.gradients, ready.task, samples, np.arange(start, start + size))
        if device_of(model).type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
        row_bytes = sum(array.nbytes for array in arrays.values()) // size
    weights = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    activations = activation_bytes(model, ready.task, samples.batch(np.arange(min(2, len(samples)))))
    return Plan(
        samples=len(samples),
        batch_size=ready.batch_size,
        coverage=str(ready.gradients.coverage),
        seconds=float(np.median(seconds[1:])) / size * len(samples),
        memory_bytes=weights + 2 * activations * size + 2 * row_bytes * min(settings.shard_size, len(samples)),
        disk_bytes=row_bytes * len(samples),
    )
