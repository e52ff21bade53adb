"""Per-sample gradients by a plain loop, one backward pass a sample: slow, and right for everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gradsift.data.batch import Batch, batch_size, rows
from gradsift.errors import ModelError, SampleError
from gradsift.gradients.forms import Dense
from gradsift.gradients.model_state import evaluated
from gradsift.gradients.projection import Sketches
from gradsift.gradients.reductions import Reductions, reduce_dense
from gradsift.gradients.road import Reduced, Take
from gradsift.tasks import Task, sample_losses


class Loop:
    """Per-sample gradients of any parameters of any model.

    Args:
        model: The model.
        task: The task.
        parameters: Full name to parameter, what is wanted.
        reductions: What to keep.
        sketches: The projections of all roads' parameters; by default of its own.
    """

    name = "loop"

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        parameters: Mapping[str, nn.Parameter],
        reductions: Reductions,
        sketches: Sketches | None = None,
    ) -> None:
        self._model, self._task, self._reductions = model, task, reductions
        self._parameters = dict(parameters)
        self._sketches = sketches or Sketches(reductions.projection, parameters)

    def run(self, batch: Batch) -> Reduced:
        """One forward and backward pass a sample; memory is one gradient.

        Args:
            batch: The batch.

        Returns:
            Outputs, losses and reductions.
        """
        outputs, losses = self._forward(batch)
        size = batch_size(batch)
        reduced = []
        for row in range(size):
            alone = rows(batch, row, row + 1, size)
            reduced.append(reduce_dense(self._reductions, self.dense(alone), self._sketches))
        return Reduced(outputs, losses, {key: torch.cat([one[key] for one in reduced]) for key in reduced[0]})

    def visit(self, batch: Batch, begin: Callable[[int], Take]) -> tuple[Any, Tensor]:
        """Hands over the gradients of all parameters, held whole for the batch."""
        outputs, losses = self._forward(batch)
        take = begin(len(losses))
        for name, gradient in self.dense(batch).items():
            take(name, Dense(gradient))
        return outputs, losses

    def _forward(self, batch: Batch) -> tuple[Any, Tensor]:
        """A plain pass first, so that a sample that the task refuses is named by its row in the batch."""

        def run() -> tuple[Any, Tensor]:
            outputs = self._task.outputs(self._model, batch)
            return outputs, sample_losses(self._task, outputs, batch)

        return evaluated(run)

    def dense(self, batch: Batch) -> dict[str, Tensor]:
        """The gradients themselves.

        Args:
            batch: A small batch.

        Returns:
            Full name to ``(n, *shape)``; zero where a parameter does not reach the loss.

        Raises:
            SampleError: The task refuses a sample, which is named by its row.
            ModelError: The model runs reentrant checkpoints.
        """
        size, gradients = batch_size(batch), []
        for row in range(size):
            try:
                gradients.append(self._gradient(rows(batch, row, row + 1, size)))
            except SampleError as error:
                raise SampleError(error.problem, [row], error.fix) from error
            except RuntimeError as error:
                if "use_reentrant" not in str(error):
                    raise
                raise ModelError(
                    "the model runs reentrant checkpoints, which give no gradient of single parameters: call model.eval(), "
                    "in which transformers' models run none, or checkpoint with use_reentrant=False"
                ) from error
        columns = zip(*gradients, strict=True)
        return {name: torch.stack(column) for name, column in zip(self._parameters, columns, strict=True)}

    def _gradient(self, alone: Batch) -> list[Tensor]:
        """The gradient of a batch of one sample, parameter by parameter."""
        wanted = list(self._parameters.values())
        with torch.enable_grad():
            losses = sample_losses(self._task, self._task.outputs(self._model, alone), alone)
            if not losses.requires_grad:
                return [torch.zeros_like(parameter) for parameter in wanted]
            found = torch.autograd.grad(losses.sum(), wanted, allow_unused=True, materialize_grads=True)
        return [gradient.to_dense() for gradient in found]
