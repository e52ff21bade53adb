"""Predicted probabilities averaged along training, sample by sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np
import torch
from torch import Tensor

from gradsift.tasks import LabelledTask, Task
from gradsift.trajectory.checkpoints import checked, first_places


class MeanPredictions:
    """A running mean of each sample's predicted probabilities; one array, however long the training.

    Args:
        size: Number of samples n.
    """

    def __init__(self, size: int) -> None:
        self._counts = np.zeros(size, dtype=np.int64)
        self._sums: np.ndarray | None = None

    def add(self, positions: np.ndarray, probabilities: Tensor) -> None:
        """Takes in the predictions of one batch.

        Args:
            positions: Position of each row; one that stands in the batch twice, as padding, counts once.
            probabilities: Shape (m, K).
        """
        rows, places = first_places(positions, len(self._counts))
        values = probabilities.detach().float().cpu().numpy().take(rows, axis=0)
        if self._sums is None:
            self._sums = np.zeros((len(self._counts), values.shape[1]), dtype=np.float32)
        self._sums[places] += values
        self._counts[places] += 1

    def merge(self, other: MeanPredictions) -> None:
        """Takes in what another process has seen.

        Args:
            other: The mean of another process, over the same data set.
        """
        if other._sums is not None:
            self._sums = other._sums.copy() if self._sums is None else self._sums + other._sums
            self._counts = self._counts + other._counts

    def mean(self) -> np.ndarray | None:
        """The means.

        Returns:
            Shape (n, K), float32; NaN where a sample was never seen; ``None`` where nothing was.
        """
        if self._sums is None:
            return None
        with np.errstate(invalid="ignore"):
            return np.divide(self._sums, self._counts[:, None], dtype=np.float32)

    def state_dict(self) -> dict[str, Tensor | None]:
        """Counts and sums, as tensors."""
        return {"counts": torch.tensor(self._counts), "sums": None if self._sums is None else torch.tensor(self._sums)}

    @classmethod
    def from_state(cls, size: int, state: Mapping[str, Tensor | None]) -> Self:
        """The opposite of :meth:`state_dict`.

        Args:
            size: Number of samples n.
            state: What it gave.

        Returns:
            The means.

        Raises:
            ValueError: It is of another size.
        """
        loaded, counts, sums = cls(size), state["counts"], state["sums"]
        if counts is not None:
            loaded._counts = checked(counts, size)
        loaded._sums = None if sums is None else checked(sums, size)
        return loaded


@torch.no_grad()
def predicted(task: Task, outputs: object) -> Tensor | None:
    """The probabilities of classes that an output stands for.

    Args:
        task: The task.
        outputs: The model's output.

    Returns:
        Shape (n, K); ``None`` where the task has no classes.
    """
    if not isinstance(task, LabelledTask) or task.kind != "class":
        return None
    probabilities = task.predictions(outputs).detach()
    return probabilities if probabilities.ndim == 2 and probabilities.shape[1] >= 2 else None
