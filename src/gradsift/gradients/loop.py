"""Per-sample gradients by a plain loop, one backward pass a sample: slow, and right for everything."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gradsift.data.batch import Batch, batch_size, rows
from gradsift.gradients.projection import Sketch
from gradsift.gradients.reductions import Reductions, reduce_dense
from gradsift.gradients.road import Reduced
from gradsift.tasks import Task, sample_losses


class Loop:
    """Per-sample gradients of any parameters of any model.

    Args:
        model: The model.
        task: The task.
        parameters: Full name to parameter, what is wanted.
        reductions: What to keep.
    """

    name = "loop"

    def __init__(
        self, model: nn.Module, task: Task, parameters: Mapping[str, nn.Parameter], reductions: Reductions
    ) -> None:
        self._model, self._task, self._reductions = model, task, reductions
        self._parameters = dict(parameters)
        self._sketches: dict[str, Sketch] = {}

    def run(self, batch: Batch) -> Reduced:
        """One forward and backward pass a sample; memory is one gradient.

        Args:
            batch: The batch.

        Returns:
            Outputs, losses and reductions.
        """
        size = batch_size(batch)
        reduced = []
        for row in range(size):
            alone = rows(batch, row, row + 1, size)
            reduced.append(reduce_dense(self._reductions, self.dense(alone), self._sketches))
        with torch.no_grad():
            outputs = self._task.outputs(self._model, batch)
            losses = sample_losses(self._task, outputs, batch)
        return Reduced(outputs, losses, {key: torch.cat([one[key] for one in reduced]) for key in reduced[0]})

    def dense(self, batch: Batch) -> dict[str, Tensor]:
        """The gradients themselves.

        Args:
            batch: A small batch.

        Returns:
            Full name to ``(n, *shape)``; zero where a parameter does not reach the loss.
        """
        size, gradients = batch_size(batch), []
        for row in range(size):
            alone = rows(batch, row, row + 1, size)
            with torch.enable_grad():
                losses = sample_losses(self._task, self._task.outputs(self._model, alone), alone)
                wanted = list(self._parameters.values())
                if losses.requires_grad:
                    found = torch.autograd.grad(losses.sum(), wanted, allow_unused=True, materialize_grads=True)
                else:
                    found = tuple(torch.zeros_like(parameter) for parameter in wanted)
                gradients.append([gradient.to_dense() for gradient in found])
        columns = zip(*gradients, strict=True)
        return {name: torch.stack(column) for name, column in zip(self._parameters, columns, strict=True)}
