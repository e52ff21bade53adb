"""The recorder's seat in the ``Trainer`` of transformers."""

from __future__ import annotations

import logging
from typing import Any

from transformers import TrainerCallback

from gradsift.progress import announce
from gradsift.trajectory import Recorder

logger = logging.getLogger(__name__)


class RecorderCallback(TrainerCallback):
    """Records along a ``Trainer``'s training.

    Give the Trainer ``train_dataset=wrapped`` and ``data_collator=wrapped.collate`` with
    ``wrapped = gradsift.indexed(train_set, collator, model=model)``; for eval passes alone no wrapper is needed.

    Args:
        recorder: The recorder, made with the model that is given to the Trainer.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def on_step_end(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        """Counts optimizer steps."""
        self.recorder.end_step()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        """Closes an epoch."""
        self.recorder.end_epoch()

    def on_train_end(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        """Puts together what several processes have recorded, and says what recording has cost."""
        self.recorder.finish()
        if state.is_world_process_zero:
            announce(self.recorder.summary())
