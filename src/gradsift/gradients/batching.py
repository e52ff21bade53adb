"""The batch size: found from what one sample's activations weigh, halved when memory runs out."""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn

from gradsift.data.batch import Batch, batch_size, to_model
from gradsift.errors import ModelError
from gradsift.gradients.model_state import device_of, evaluated
from gradsift.tasks import Task

logger = logging.getLogger(__name__)

LARGEST = 2048
CPU_BUDGET = 64 * 2**20
"""Bytes of activations at which a CPU pass is fastest: with larger batches the system's allocator gives memory back and
faults it in anew at every batch."""


def activation_bytes(model: nn.Module, task: Task, example: Batch) -> int:
    """What one sample's activations weigh: the outputs of all leaf modules in a forward pass.

    Args:
        model: The model.
        task: The task.
        example: A small batch.

    Returns:
        Bytes a sample.
    """
    example = to_model(example, model)
    total = 0

    def note(_module: nn.Module, _inputs: object, output: object) -> None:
        nonlocal total
        if isinstance(output, Tensor):
            total += output.numel() * output.element_size()

    handles = [m.register_forward_hook(note) for m in model.modules() if not list(m.children())]
    try:
        evaluated(lambda: task.outputs(model, example))
    finally:
        for handle in handles:
            handle.remove()
    return max(1, total // batch_size(example))


class Batcher:
    """Splits positions into batches and halves the batch size when memory runs out.

    Args:
        size: Samples a batch, to begin with.

    Attributes:
        size: Samples a batch, now.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    @classmethod
    def fitting(cls, model: nn.Module, task: Task, example: Batch) -> Batcher:
        """Finds the batch size: the largest power of two whose activations fit the budget.

        The count depends on shapes alone, so the same model and data give the same size on every run. The budget is
        64 MiB on the CPU, and an eighth of the memory of a GPU, as per-sample reductions need room beside it.

        Args:
            model: The model.
            task: The task.
            example: A small batch.

        Returns:
            A batcher of 1 to 2048 samples.
        """
        device = device_of(model)
        budget = torch.cuda.get_device_properties(device).total_memory // 8 if device.type == "cuda" else CPU_BUDGET
        fitting = budget // activation_bytes(model, task, example)
        size = 1
        while size * 2 <= min(fitting, LARGEST):
            size *= 2
        return cls(size)

    def shrink(self, error: BaseException) -> None:
        """Halves the batch size after an out-of-memory error.

        Args:
            error: The error.

        Raises:
            ModelError: The batch is of one sample already.
        """
        if self.size == 1:
            raise ModelError(
                'memory runs out with a batch of one sample: audit fewer layers (layers="last"), leave out L1 norms '
                "and dense projections, or use a device with more memory"
            ) from error
        self.size //= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        logger.warning("out of memory: later batches hold %d samples", self.size)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or in the CPU allocator.

    Args:
        error: The error.

    Returns:
        True for out of memory.
    """
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError)
        and any(words in str(error) for words in ("not enough memory", "can't allocate memory"))
    )
