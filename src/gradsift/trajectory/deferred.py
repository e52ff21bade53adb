"""Training passes of a classifier whose statistics wait: a step of a small model hardly feels what is kept of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gradsift.gradients.forms import at_least_float32
from gradsift.tasks import Task
from gradsift.trajectory.outputs import of_outputs, own_residual
from gradsift.trajectory.predictions import predicted

MOST_DEFERRED = 2**22
"""Logits and features that wait for their statistics, at most."""


class DeferredPasses:
    """Logits, labels and features of passes, from which statistics are computed many passes at once.

    A step of a small model takes a third of a millisecond, so keeping a pass does nothing that can wait: no check, no
    conversion, no number read from a device.

    Args:
        task: A classification.
        step: Tells how many optimizer steps there were so far.
    """

    def __init__(self, task: Task, step: Callable[[], int]) -> None:
        self._task, self._step = task, step
        self._clear()

    def _clear(self) -> None:
        self._passes: list[tuple[Tensor, Tensor, Tensor]] = []
        self._steps: list[int] = []
        self._values_waiting = 0

    def keep(self, positions: Tensor, labels: Tensor, logits: Tensor, features: Tensor) -> None:
        """Keeps a pass.

        Args:
            positions: Position of each sample, shape (n,).
            labels: Class numbers, shape (n,).
            logits: Shape (n, K); copied, as training may change them in place.
            features: Inputs of the last linear layer, shape (n, D); copied, too.
        """
        copied = torch.cat((logits.detach(), features.detach()), dim=1)
        self._passes.append((positions, labels, copied))
        self._steps.append(self._step())
        self._classes = logits.shape[1]
        self._values_waiting += copied.numel()

    @property
    def full(self) -> bool:
        """Whether as much waits as may."""
        return self._values_waiting > MOST_DEFERRED

    def statistics(self) -> tuple[np.ndarray, dict[str, Tensor]] | None:
        """Computes and forgets.

        Returns:
            The step of each row, shape (m,), and statistics of all passes: ``positions``; those of
            :func:`~gradsift.trajectory.outputs.of_outputs`; ``l1`` and ``l2`` of the last layer's weight; each
            of shape (m,); and ``predictions``, shape (m, K), in half precision. ``None`` where nothing waits.
        """
        if not self._passes:
            return None
        steps = np.repeat(self._steps, [copied.shape[0] for _, _, copied in self._passes])
        positions, labels, copied = (torch.cat(column) for column in zip(*self._passes, strict=True))
        self._clear()
        copied = at_least_float32(copied)
        outputs, features = copied[:, : self._classes].contiguous(), copied[:, self._classes :]
        batch = (outputs, labels.to(outputs.device))
        losses, residual = own_residual(self._task, outputs, batch)
        statistics = of_outputs(self._task, outputs, losses, residual, batch)
        feature_l1 = features.abs().sum(dim=1)  # vector_norm(ord=1) is ten times slower
        statistics["l1"] = statistics["residual_l1"] * feature_l1
        statistics["l2"] = statistics["residual_l2"] * torch.linalg.vector_norm(features, dim=1)
        probabilities = predicted(self._task, outputs)
        if probabilities is not None:
            statistics["predictions"] = probabilities.half()
        return steps, {"positions": positions} | statistics
