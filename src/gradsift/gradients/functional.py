"""Per-sample gradients by ``torch.func``: ``vmap(grad)`` over the samples, for whatever has no rule."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.utils._pytree import tree_map

from gradsift.data.batch import Batch, batch_size, map_tensors
from gradsift.errors import ModelError
from gradsift.gradients.forms import Dense
from gradsift.gradients.model_state import evaluated, frozen
from gradsift.gradients.projection import Sketches
from gradsift.gradients.reductions import Reductions, reduce_dense
from gradsift.gradients.road import Reduced, Take
from gradsift.tasks import Task, sample_losses


class TorchFunc:
    """Per-sample gradients of any parameters of a model that ``torch.func`` can trace.

    Memory is batch x wanted parameters, as all are held at once.

    Args:
        model: The model.
        task: The task.
        parameters: Full name to parameter, what is wanted.
        reductions: What to keep.
        sketches: The projections of all roads' parameters; by default of its own.
    """

    name = "torch.func"

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
        """Vectorised gradients, and a plain forward pass for outputs and losses.

        Args:
            batch: The batch.

        Returns:
            Outputs, losses and reductions.
        """
        outputs, losses = self._forward(batch)
        gradients = self.dense(batch)
        with torch.no_grad():
            statistics = reduce_dense(self._reductions, gradients, self._sketches)
        return Reduced(outputs, losses, statistics)

    def visit(self, batch: Batch, begin: Callable[[int], Take]) -> tuple[Any, Tensor]:
        """Hands over the gradients of all parameters, held whole."""
        outputs, losses = self._forward(batch)
        take = begin(len(losses))
        for name, gradient in self.dense(batch).items():
            take(name, Dense(gradient))
        return outputs, losses

    def _forward(self, batch: Batch) -> tuple[Any, Tensor]:
        """A plain pass first, as values of labels are checked here and cannot be checked inside vmap."""

        def run() -> tuple[Any, Tensor]:
            outputs = self._task.outputs(self._model, batch)
            return outputs, sample_losses(self._task, outputs, batch)

        return evaluated(run)

    def dense(self, batch: Batch) -> dict[str, Tensor]:
        """The gradients themselves.

        Args:
            batch: The batch.

        Returns:
            Full name to ``(n, *shape)``.

        Raises:
            ModelError: A tensor of the batch has no sample axis.
        """
        size = batch_size(batch)

        def mapped_axis(leaf: Any) -> int | None:
            if not isinstance(leaf, Tensor):
                return None
            if leaf.ndim == 0 or len(leaf) != size:
                raise ModelError(f"a tensor of shape {tuple(leaf.shape)} in a batch of {size} has no sample axis")
            return 0

        def loss_of_one(parameters: dict[str, Tensor], sample: Batch) -> Tensor:
            alone = map_tensors(lambda leaf: leaf[None], sample)
            outputs = self._task.outputs(_Called(self._model, parameters), alone)  # type: ignore[arg-type]  # stands in for a module
            return sample_losses(self._task, outputs, alone)[0]

        values = {name: parameter.detach() for name, parameter in self._parameters.items()}
        with frozen(self._model), warnings.catch_warnings():
            # Operations without a batching rule are slow, not wrong; the coverage line names this road.
            warnings.filterwarnings("ignore", message="There is a performance drop")
            return vmap(grad(loss_of_one), in_dims=(None, tree_map(mapped_axis, batch)))(values, batch)


class _Called:
    """Stands in for a model in a task: a call runs it with other values for some parameters."""

    def __init__(self, model: nn.Module, parameters: dict[str, Tensor]) -> None:
        self._model, self._parameters = model, parameters

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return functional_call(self._model, self._parameters, arguments, keywords)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)
