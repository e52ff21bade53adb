"""What every backend of per-sample gradients has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gradsift.data.batch import Batch, map_tensors
from gradsift.gradients.forms import Dense, Form
from gradsift.gradients.model_state import evaluated, reducing
from gradsift.gradients.projection import Sketches
from gradsift.gradients.reductions import Reducer, Reductions
from gradsift.tasks import Task, sample_losses

Take = Callable[[str, Form], None]
"""Called with a parameter's name and the per-sample gradients of one batch."""


@dataclass
class Reduced:
    """One batch: its outputs, losses and reduced per-sample gradients.

    Attributes:
        outputs: What the task's ``outputs`` gave, detached.
        losses: Shape (n,).
        statistics: ``l1``, ``l2`` (n,), ``projection`` (n, dim), ``products`` (n, m), ``residual`` (n, K) and
            ``features`` (n, D), as asked for.
    """

    outputs: Any
    losses: Tensor
    statistics: dict[str, Tensor]


class Backend(ABC):
    """A way to per-sample gradients of some parameters.

    Args:
        model: The model.
        task: The task.
        parameters: Full name to parameter, what is wanted.
        reductions: What to keep.
        sketches: The projections of all backends' parameters; by default of its own.
        shared: Layers that run once for all samples and are broadcast over them afterwards, such as the look-up of position
            embeddings; layer rules give them a sample axis, so that each sample's gradient arrives on its own.
    """

    name: str

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        parameters: Mapping[str, nn.Parameter],
        reductions: Reductions,
        sketches: Sketches | None = None,
        shared: frozenset[nn.Module] = frozenset(),
    ) -> None:
        self._model, self._task, self._reductions, self._shared = model, task, reductions, shared
        self._parameters = dict(parameters)
        self._sketches = sketches or Sketches(reductions.projection, parameters)
        self._find_layers()

    def _find_layers(self) -> None:  # noqa: B027  # backends that hold gradients whole need no layers
        """Finds the layers that own the parameters, where a backend works by layers; called on construction."""

    @abstractmethod
    def visit(self, batch: Batch, begin: Callable[[int], Take]) -> tuple[Any, Tensor]:
        """Computes the gradients of one batch and hands them over parameter by parameter, unreduced.

        Args:
            batch: The batch, on the model's device.
            begin: Called with the number of samples; gives what takes a parameter's name and form.

        Returns:
            Outputs and losses.
        """

    def run(self, batch: Batch) -> Reduced:
        """Computes and reduces the gradients of one batch.

        Args:
            batch: The batch, on the model's device.

        Returns:
            Outputs, losses and reductions.
        """
        reducers: list[Reducer] = []

        def begin(size: int) -> Take:
            reducers.append(Reducer(self._reductions, size, self._sketches))
            return reducers[0].add

        outputs, losses = self.visit(batch, begin)
        statistics = reducers[0].result(losses.detach())
        return Reduced(map_tensors(Tensor.detach, outputs), losses.detach(), statistics)


class DenseBackend(Backend):
    """A backend that holds the gradients of its parameters whole."""

    @abstractmethod
    def dense(self, batch: Batch) -> dict[str, Tensor]:
        """The gradients themselves.

        Args:
            batch: The batch.

        Returns:
            Full name to ``(n, *shape)``.
        """

    def visit(self, batch: Batch, begin: Callable[[int], Take]) -> tuple[Any, Tensor]:
        """Hands over the gradients of all parameters; see :meth:`Backend.visit`."""
        outputs, losses = self._forward(batch)
        take = begin(len(losses))
        gradients = self.dense(batch)
        with torch.no_grad(), reducing(losses.device):
            for name, gradient in gradients.items():
                take(name, Dense(gradient))
        return outputs, losses

    def _forward(self, batch: Batch) -> tuple[Any, Tensor]:
        """A plain pass first, which names samples that the task refuses by their rows in the batch."""

        def run() -> tuple[Any, Tensor]:
            outputs = self._task.outputs(self._model, batch)
            return outputs, sample_losses(self._task, outputs, batch)

        return evaluated(run)
