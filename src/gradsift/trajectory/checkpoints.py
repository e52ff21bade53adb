"""Numbers of every sample, checkpoint by checkpoint, as they come in from passes and from several processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from gradsift.trajectory.identity import DataIdentity
from gradsift.trajectory.trajectory import Mode, Trajectory

STEP = "step"
"""Name of the column that says at which optimizer step a number was taken."""


class Checkpoint:
    """One checkpoint: a column a statistic, one place a sample; NaN where a sample was not seen.

    Args:
        size: Number of samples n.
        step: Optimizer step at its end.
    """

    def __init__(self, size: int, step: int) -> None:
        self.size, self.step = size, step
        self.columns: dict[str, np.ndarray] = {}

    def add(self, positions: np.ndarray, statistics: Mapping[str, Tensor], step: int | np.ndarray) -> None:
        """Puts values into the places of their samples; what is there already stays.

        Args:
            positions: Position of each value.
            statistics: Statistic to values, shape (n,).
            step: Optimizer step at which they were taken, or that of each value.
        """
        fresh = STEP not in self.columns
        steps, (rows, places) = self._column(STEP), first_places(positions, self.size)
        if not fresh:
            unseen = np.isnan(steps[places])
            rows, places = rows[unseen], positions[rows[unseen]]
        for name, values in statistics.items():
            self._column(name)[places] = values.detach().float().cpu().numpy().take(rows)
        steps[places] = np.broadcast_to(step, positions.shape).take(rows)

    def merge(self, other: Checkpoint) -> None:
        """Takes up what another process has seen; of a sample that both have seen, the earlier one.

        Args:
            other: The same checkpoint of another process.
        """
        own, others = self._column(STEP), other._column(STEP)
        taken = ~np.isnan(others) & (np.isnan(own) | (others < own))
        for name, values in other.columns.items():
            column = self._column(name)
            column[taken] = values[taken]

    def state_dict(self) -> dict[str, Any]:
        """Its step and columns, as tensors."""
        return {"step": self.step, "columns": {name: torch.tensor(values) for name, values in self.columns.items()}}

    @classmethod
    def from_state(cls, size: int, state: Mapping[str, Any]) -> Self:
        """The opposite of :meth:`state_dict`.

        Args:
            size: Number of samples n.
            state: What it gave.

        Returns:
            The checkpoint.

        Raises:
            ValueError: A column is of another size.
        """
        loaded = cls(size, int(state["step"]))
        loaded.columns = {name: checked(values, size) for name, values in state["columns"].items()}
        return loaded

    def _column(self, name: str) -> np.ndarray:
        if name not in self.columns:
            self.columns[name] = np.full(self.size, np.nan, dtype=np.float32)
        return self.columns[name]


def first_places(positions: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray | slice]:
    """Where each sample stands for the first time, as one that pads a batch stands in it twice.

    Args:
        positions: Position of each row, shape (m,).
        size: Number of samples n, above every position.

    Returns:
        Rows of ``positions``, each sample once, and the positions of these rows; in the order of the samples where all
        of them are there, whose positions are then a slice, as a copy is faster than an assignment place by place.
    """
    rows = np.arange(len(positions))
    place = np.empty(size, dtype=rows.dtype)  # where samples are missing, only places of positions are written and read
    if len(positions) >= size:
        place.fill(-1)
    place[positions[::-1]] = rows[::-1]  # of several rows of a sample the one written last stays
    if len(positions) >= size and place.min(initial=0) >= 0:
        return place, slice(None)
    rows = np.flatnonzero(place[positions] == rows)
    return rows, positions[rows]


def checked(values: Tensor, size: int) -> np.ndarray:
    """An array of a state that was stored.

    Args:
        values: The tensor.
        size: Number of samples n.

    Returns:
        A copy, first axis = samples.

    Raises:
        ValueError: It is of another size.
    """
    if len(values) != size:
        raise ValueError(f"an array of {len(values)} rows stands for {size} samples")
    return values.detach().cpu().numpy().copy()


def trajectory_of(
    mode: Mode,
    checkpoints: Sequence[Checkpoint],
    predictions: np.ndarray | None = None,
    data: DataIdentity | None = None,
) -> Trajectory:
    """Checkpoints side by side.

    Args:
        mode: How they were taken.
        checkpoints: At least one.
        predictions: Predicted probabilities averaged over them, shape (n, K).
        data: The data set that they are of.

    Returns:
        The trajectory, with the statistics that all checkpoints have.
    """
    names = sorted(set.intersection(*(set(checkpoint.columns) for checkpoint in checkpoints)) - {STEP})
    statistics = {name: np.stack([checkpoint.columns[name] for checkpoint in checkpoints]) for name in names}
    steps = np.stack([np.nan_to_num(checkpoint.columns[STEP], nan=-1).astype(np.int64) for checkpoint in checkpoints])
    recorded_at = steps if mode == "train" else None
    return Trajectory(mode, statistics, [checkpoint.step for checkpoint in checkpoints], recorded_at, predictions, data)
