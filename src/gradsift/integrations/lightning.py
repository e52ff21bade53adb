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
    ``training_step`` unpacks its batch as ever. For eval passes alone no wrapper is needed. A training that is resumed
    with ``fit(..., ckpt_path=...)`` goes on recording where the checkpoint was written.

    Args:
        recorder: The recorder, made with the module that ``training_step`` calls on a batch.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self._steps = 0
        self._open_epoch: int | None = None

    def state_dict(self) -> dict[str, Any]:
        """What goes into Lightning's checkpoints."""
        return {"recorder": self.recorder.state_dict(), "steps": self._steps, "open_epoch": self._open_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from one of Lightning's checkpoints; what was recorded after it is dropped."""
        self.recorder.load_state_dict(state_dict["recorder"])
        self._steps, self._open_epoch = state_dict["steps"], state_dict["open_epoch"]

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Notes whose passes come next; an epoch whose end was left out by a resume is closed."""
        if self._open_epoch is not None and self._open_epoch < trainer.current_epoch:
            self.recorder.end_epoch()
        self._open_epoch = trainer.current_epoch
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
        self._open_epoch = None

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Puts together what several processes have recorded, and says what recording has cost."""
        self.recorder.finish()
        if trainer.is_global_zero:
            announce(self.recorder.summary())
