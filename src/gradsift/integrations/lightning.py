"""The recorder's seat in Lightning's loop."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback

from gradsift.progress import announce
from gradsift.trajectory import Recorder
from gradsift.trajectory.indexed import POSITIONS


class RecorderCallback(Callback):
    """Records along a Lightning ``Trainer``'s training.

    The training loader goes over ``wrapped = gradsift.indexed(train_set)`` with ``collate_fn=wrapped.collate``; a
    ``training_step`` unpacks its batch as ever. For eval passes alone no wrapper is needed.

    Args:
        recorder: The recorder, made with the module that ``training_step`` calls on a batch.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self._steps = 0

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Notes whose passes come next."""
        self.recorder.see(batch)
        if isinstance(batch, dict):
            batch.pop(POSITIONS, None)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Counts optimizer steps."""
        if trainer.global_step > self._steps:
            self._steps = trainer.global_step
            self.recorder.end_step()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Closes an epoch."""
        self.recorder.end_epoch()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Puts together what several processes have recorded, and says what recording has cost."""
        self.recorder.finish()
        if trainer.is_global_zero:
            announce(self.recorder.summary())
