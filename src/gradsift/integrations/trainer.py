"""The recorder's seat in the ``Trainer`` of transformers."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from gradsift.errors import GradsiftError, RunDirectoryError
from gradsift.progress import announce
from gradsift.trajectory import Recorder
from gradsift.writing import new_file

logger = logging.getLogger(__name__)

STATE = "gradsift_recorder.pt"
"""Name of the recorder's state in a checkpoint of the Trainer."""


class RecorderCallback(TrainerCallback):
    """Records along a ``Trainer``'s training.

    Give the Trainer ``train_dataset=wrapped`` and ``data_collator=wrapped.collate`` with
    ``wrapped = gradsift.indexed(train_set, collator, model=model)``; for eval passes alone no wrapper is needed.

    Each checkpoint holds the recorder's state, and ``train(resume_from_checkpoint=...)`` goes on from it.

    Args:
        recorder: The recorder, made with the model that is given to the Trainer.
        checkpoint: Folder of the checkpoint that the training is resumed from, where it does not lie in the Trainer's
            ``output_dir``.
    """

    def __init__(self, recorder: Recorder, *, checkpoint: str | Path | None = None) -> None:
        self.recorder, self._checkpoint = recorder, checkpoint
        self._open_epoch: int | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        """Goes on from the checkpoint that the training is resumed from; what was recorded after it is dropped."""
        if not state.global_step:
            return
        folder = Path(self._checkpoint or Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}")
        try:
            stored = torch.load(folder / STATE, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            logger.warning(
                "the training is resumed at step %s, and %s holds no %s: what was recorded before is missing. Name the "
                "checkpoint, RecorderCallback(recorder, checkpoint=FOLDER), if it lies elsewhere",
                *(state.global_step, folder, STATE),
            )
            self.recorder.step = state.global_step
            return
        except Exception as error:  # a damaged file fails in many ways
            raise RunDirectoryError(
                f"{folder / STATE} cannot be read ({error}): resume from another checkpoint"
            ) from error
        self.recorder.load_state_dict(stored["recorder"])
        opened = stored["open_epoch"]
        if opened is not None and opened < _epoch(state):  # over when the checkpoint was written, but not closed
            self.recorder.end_epoch()

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        """Notes the epoch."""
        self._open_epoch = _epoch(state)

    def on_step_end(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        """Counts optimizer steps."""
        self.recorder.end_step()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        """Closes an epoch."""
        self.recorder.end_epoch()
        self._open_epoch = None

    def on_save(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        """Puts the recorder's state into the checkpoint."""
        stored = {"recorder": self.recorder.state_dict(), "open_epoch": self._open_epoch}
        folder = Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        if not state.is_world_process_zero or not folder.is_dir():
            return
        try:
            with new_file(folder / STATE, replaces=lambda _path: True) as aside:
                torch.save(stored, aside)
        except (OSError, RuntimeError, GradsiftError) as error:  # training goes on
            logger.error("the recorder's state is missing in the checkpoint %s: %s", folder, error)

    def on_train_end(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        """Puts together what several processes have recorded, and says what recording has cost."""
        self.recorder.finish()
        if state.is_world_process_zero:
            announce(self.recorder.summary())


def _epoch(state: Any) -> int:
    """Epochs that are over."""
    return int((state.epoch or 0.0) + 1e-6)
