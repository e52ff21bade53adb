"""A pass over the training set in eval mode: statistics of all samples at one state of the weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from gradsift.data import Samples
from gradsift.data.batch import Batch
from gradsift.gradients import Batcher, Layers, PerSampleGradients, Reductions
from gradsift.gradients.batches import each_batch
from gradsift.progress import progress
from gradsift.tasks import Task
from gradsift.trajectory.checkpoints import Checkpoint
from gradsift.trajectory.outputs import of_outputs, own_residual
from gradsift.trajectory.predictions import MeanPredictions, predicted


@dataclass(frozen=True)
class EvalPass:
    """How eval passes run.

    Attributes:
        model: The model.
        samples: The training set.
        layers: Whose gradient norms.
        batch_size: Samples a batch; found anew for each pass where it is ``None``.
        show_progress: Whether to show a progress bar.
    """

    model: nn.Module
    samples: Samples
    layers: Layers
    batch_size: int | None
    show_progress: bool

    def run(self, task: Task, positions: np.ndarray, checkpoint: Checkpoint, predictions: MeanPredictions) -> None:
        """One pass over some samples.

        Args:
            task: The task.
            positions: Which samples, at least one.
            checkpoint: Takes the statistics.
            predictions: Takes the predicted probabilities of classes, where there are any.
        """
        example = self.samples.batch(positions[:8])
        gradients = PerSampleGradients(self.model, task, example, layers=self.layers, reductions=Reductions(l2=True))
        if gradients.closed_form:
            gradients = gradients.keeping(Reductions(l1=True, l2=True))
        size = self.batch_size or Batcher.fitting(self.model, task, example).size

        def measure(some: np.ndarray, batch: Batch) -> None:
            reduced = gradients(batch)
            statistics = dict(reduced.statistics) | {"loss": reduced.losses}
            if isinstance(reduced.outputs, Tensor):
                losses, residual = own_residual(task, reduced.outputs, batch)
                statistics |= of_outputs(task, reduced.outputs, losses, residual, batch)
            probabilities = predicted(task, reduced.outputs)
            if probabilities is not None:
                predictions.add(some, probabilities)
            checkpoint.add(some, statistics, checkpoint.step)

        with progress("eval pass", len(positions), show=self.show_progress) as bar:
            for _ in each_batch(measure, self.samples.batch, positions, size, finite=False, bar=bar):
                pass
