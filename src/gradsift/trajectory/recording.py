"""What a recorder has collected so far: checkpoints, mean predictions, and passes of an epoch that is not over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from gradsift.errors import DataError
from gradsift.trajectory.checkpoints import Checkpoint, trajectory_of
from gradsift.trajectory.identity import DataIdentity
from gradsift.trajectory.predictions import MeanPredictions
from gradsift.trajectory.trajectory import Mode, Trajectory

MODES: tuple[Mode, ...] = ("train", "eval")


class Recording:
    """Numbers of every sample, of both kinds of passes.

    Args:
        size: Number of samples n.

    Attributes:
        size: Number of samples n.
        checkpoints: Those of each kind of passes, in order.
        predictions: Predictions averaged over them.
        pending: Training passes since the last checkpoint: the step of each row, shape (m,), and statistics with
            ``positions``, each of shape (m, ...).
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.checkpoints: dict[Mode, list[Checkpoint]] = {mode: [] for mode in MODES}
        self.predictions: dict[Mode, MeanPredictions] = {mode: MeanPredictions(size) for mode in MODES}
        self.pending: list[tuple[np.ndarray, dict[str, Tensor]]] = []

    def close_epoch(self, step: int) -> None:
        """Makes a checkpoint of the training passes that are pending.

        Args:
            step: Optimizer step at its end.

        Raises:
            DataError: There are none.
        """
        if not self.pending:
            raise DataError(
                "an epoch went by without a batch whose positions are known: train on gradsift.indexed(...)"
            )
        checkpoint = Checkpoint(self.size, step)
        for steps, statistics in self.pending:
            statistics = dict(statistics)
            positions = statistics.pop("positions").cpu().numpy()
            if "predictions" in statistics:
                self.predictions["train"].add(positions, statistics.pop("predictions"))
            checkpoint.add(positions, statistics, steps)
        self.pending = []
        self.checkpoints["train"].append(checkpoint)

    def trajectory(self, mode: Mode, data: DataIdentity | None) -> Trajectory:
        """The checkpoints of one kind of passes, of which there is at least one.

        Args:
            mode: ``"eval"`` or ``"train"``.
            data: The data set that they are of.

        Returns:
            The trajectory.
        """
        return trajectory_of(mode, self.checkpoints[mode], self.predictions[mode].mean(), data)

    def summary(self, overhead: float) -> str:
        """How much was recorded, what it cost, and how far training's own passes are from the eval passes.

        Args:
            overhead: Share of the time of training that recording has taken.

        Returns:
            One or two sentences.
        """
        counts = ", ".join(
            f"{len(checkpoints)} checkpoints from {mode} passes"
            for mode, checkpoints in self.checkpoints.items()
            if checkpoints
        )
        text = f"Recorded {counts or 'nothing'}, {100 * overhead:.1f} % of the time of training."
        if not all(self.checkpoints.values()):
            return text
        compared = self.trajectory("train", None).compared(self.trajectory("eval", None))
        words = [
            f"{name} rank correlation {measures['rank_correlation']:.2f}, median difference "
            f"{100 * measures['median_relative_difference']:.0f} %"
            for name, measures in sorted(compared.items())
            if name in ("loss", "l2")
        ]
        return text + (f" Training's own passes against eval passes: {'; '.join(words)}." if words else "")

    @classmethod
    def merged(cls, everyone: Sequence[Recording]) -> Self:
        """Puts together what several processes have recorded.

        Args:
            everyone: The recording of each process, of the same training; they stay as they are.

        Returns:
            The whole.
        """
        whole = cls(everyone[0].size)
        for mode in MODES:
            steps = [[checkpoint.step for checkpoint in recording.checkpoints[mode]] for recording in everyone]
            whole.checkpoints[mode] = [Checkpoint(whole.size, step) for step in steps[0]]
            for recording in everyone:
                for own, their in zip(whole.checkpoints[mode], recording.checkpoints[mode], strict=True):
                    own.merge(their)
                whole.predictions[mode].merge(recording.predictions[mode])
        whole.pending = [passes for recording in everyone for passes in recording.pending]
        return whole

    def without_values(self) -> Recording:
        """The same checkpoints, without numbers: what other processes go on from, as the first one holds them all."""
        empty = Recording(self.size)
        for mode in MODES:
            empty.checkpoints[mode] = [Checkpoint(self.size, checkpoint.step) for checkpoint in self.checkpoints[mode]]
        empty.pending = [
            (steps[:0], {name: values[:0] for name, values in statistics.items()}) for steps, statistics in self.pending
        ]
        return empty

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers and words alone, so that ``torch.load(..., weights_only=True)`` reads it."""
        return {
            "checkpoints": {
                mode: [checkpoint.state_dict() for checkpoint in checkpoints]
                for mode, checkpoints in self.checkpoints.items()
            },
            "predictions": {mode: means.state_dict() for mode, means in self.predictions.items()},
            "pending": [
                {"steps": torch.from_numpy(steps), "found": {name: values.cpu() for name, values in statistics.items()}}
                for steps, statistics in self.pending
            ],
        }

    @classmethod
    def from_state(cls, size: int, state: Mapping[str, Any]) -> Self:
        """The opposite of :meth:`state_dict`.

        Args:
            size: Number of samples n.
            state: What it gave.

        Returns:
            The recording.
        """
        loaded = cls(size)
        for mode in MODES:
            loaded.checkpoints[mode] = [
                Checkpoint.from_state(size, checkpoint) for checkpoint in state["checkpoints"][mode]
            ]
            loaded.predictions[mode] = MeanPredictions.from_state(size, state["predictions"][mode])
        loaded.pending = [(passes["steps"].cpu().numpy(), dict(passes["found"])) for passes in state["pending"]]
        return loaded
