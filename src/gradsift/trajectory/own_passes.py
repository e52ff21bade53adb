"""Training's own passes: whose samples come next, and what hooks see of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor, nn

from gradsift.data import Samples
from gradsift.data.batch import Batch
from gradsift.errors import GradsiftError
from gradsift.gradients import Layers
from gradsift.gradients.model_state import in_eval_mode
from gradsift.gradients.selection import select_parameters
from gradsift.tasks import Task, task_for
from gradsift.trajectory.deferred import DeferredPasses
from gradsift.trajectory.indexed import POSITIONS, split_positions
from gradsift.trajectory.passes import TrainingPass

Pending = list[tuple[np.ndarray, dict[str, Tensor]]]
"""The step of each row, shape (m,), and statistics with ``positions``, each of shape (m, ...)."""


class OwnPasses:
    """Hooks on a model in training, which read the passes of batches whose positions are known.

    Positions that a Trainer hands to the model as a keyword are always taken out, even after reading has ended.

    Attributes:
        waits: Whether a pass waits for its backward pass, so that it is to be taken when the step is over.

    Args:
        model: The model that is called on batches.
        samples: The training set.
        guard: Runs what may fail without ending the training.
        before: Called to :meth:`take` the passes so far.
        step: Tells how many optimizer steps there were so far.
    """

    def __init__(
        self,
        model: nn.Module,
        samples: Samples,
        guard: Callable[[Callable[[], object]], None],
        before: Callable[[], None],
        step: Callable[[], int],
    ) -> None:
        self._model, self._samples, self._guard, self._before, self._step = model, samples, guard, before, step
        self._pass: TrainingPass | None = None
        self._batch: tuple[Batch, Tensor] | None = None
        self._deferred: DeferredPasses | None = None
        self._handles: list[Any] = []
        self.waits = False
        self._taking_out = model.register_forward_pre_hook(self._take_positions, with_kwargs=True)

    def watch(self, task: Task, layers: Layers) -> Task:
        """Puts hooks on the model and on the layers chosen.

        Args:
            task: The task.
            layers: Whose gradient norms.

        Returns:
            The task, told what the model's outputs are.
        """
        with in_eval_mode(self._model):
            task = task_for(task, self._model, self._samples.in_any_order)
            parameters = select_parameters(self._model, task, layers, self._samples.batch([0]))
        self._deferred = DeferredPasses(task, self._step)
        self._pass = TrainingPass(self._model, task, parameters, self._guard, self._deferred)
        self._handles = [
            *(layer.register_forward_hook(self._layer_called) for layer in self._pass.layers),
            self._model.register_forward_hook(self._model_called),
        ]
        return task

    def expect(self, batch: Batch, positions: Tensor) -> None:
        """Says which samples the model is called on next.

        Args:
            batch: The batch, with labels.
            positions: Position of each sample.
        """
        self._batch = (batch, positions)

    def take(self, pending: Pending) -> None:
        """Takes the statistics of the last pass, once its backward pass is over; those of small models are deferred.

        Args:
            pending: Takes them.
        """
        statistics = self._pass.finish() if self._pass is not None and self.waits else {}
        self.waits = False
        if statistics:
            pending.append((np.full(len(statistics["positions"]), self._step()), statistics))
        if self._deferred is not None and self._deferred.full:
            self.compute_deferred(pending)

    def compute_deferred(self, pending: Pending) -> None:
        """Statistics of deferred passes, all at once.

        Args:
            pending: Takes them.
        """
        computed = self._deferred.statistics() if self._deferred is not None else None
        if computed is not None:
            pending.append(computed)

    def stop(self) -> None:
        """Takes the hooks off that read passes."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._batch = [], None

    def close(self) -> None:
        """Takes all hooks off."""
        self.stop()
        self._taking_out.remove()

    def _take_positions(self, _model: nn.Module, arguments: Any, keywords: dict[str, Any]) -> Any:
        """Before the model is called: takes out positions that came along as a keyword, as a Trainer passes them."""
        if POSITIONS not in keywords:
            return None
        rest, positions = split_positions(keywords)
        if positions is not None and self._handles and self._model.training:
            self.expect(rest, positions)
        return arguments, rest

    def _layer_called(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if self._batch is not None and self._pass is not None and self._model.training:
            self._pass.layer_called(module, inputs, output)

    def _model_called(self, _model: nn.Module, _arguments: Any, returned: Any) -> None:
        if self._batch is not None and self._model.training:
            self._guard(lambda: self._read(returned))

    def _read(self, returned: Any) -> None:
        expected, self._batch = self._batch, None
        if self._pass is None or self._deferred is None or expected is None:
            return
        batch, positions = expected
        if self._pass.defer(returned, batch, positions):
            if self._deferred.full:
                self._before()
            return
        self._before()
        self.waits = True
        try:
            self._pass.model_called(returned, batch, positions)
        except GradsiftError:  # labels were taken out before the model was called
            self._pass.model_called(returned, self._samples.batch(positions.tolist()), positions)
