"""The recorder: per-sample statistics along training, from its own passes or from eval passes in between."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from torch import nn

from gradsift.data import Samples
from gradsift.errors import DataError, ModelError, SettingError
from gradsift.gradients import Layers
from gradsift.gradients.model_state import in_eval_mode, unwrapped
from gradsift.locations import Location
from gradsift.store.processes import gathered, rank_and_count
from gradsift.tasks import Task, get_task, task_for
from gradsift.trajectory.checkpoints import Checkpoint
from gradsift.trajectory.eval_pass import EvalPass
from gradsift.trajectory.identity import DataIdentity
from gradsift.trajectory.indexed import UNKNOWN, IndexedSet, split_positions
from gradsift.trajectory.own_passes import OwnPasses
from gradsift.trajectory.recording import Recording
from gradsift.trajectory.state import STATE_VERSION, checked_state
from gradsift.trajectory.trajectory import Mode, Trajectory

logger = logging.getLogger(__name__)

Passes = Literal["eval", "train", "both"]


class Recorder:
    """Collects a :class:`Trajectory` while a model is trained.

    With ``passes="eval"`` the training loop stays as it is, and ``end_epoch()`` runs a pass over the training set in eval
    mode every ``every`` epochs: about 0.3 / every of the cost of training. With ``"train"`` the statistics come from
    training's own passes, for a few percent, at weights that differ from sample to sample: the loader wraps
    :func:`~gradsift.indexed`, and each batch goes through :meth:`see`. ``"both"`` measures how far the two differ.

    A recorder that fails says so and stays silent from then on; training goes on.

    Args:
        model: The model that is called on batches.
        train_set: The training set, by position, without augmentation for eval passes.
        task: The task or its name.
        layers: Whose gradient norms: ``"last"``, ``"all"``, or glob patterns.
        passes: ``"eval"``, ``"train"`` or ``"both"``.
        every: Epochs between eval passes.
        every_steps: Optimizer steps between eval passes, instead of epochs.
        batch_size: Samples a batch in eval passes; found by itself where left out.
        show_progress: Whether eval passes show a progress bar.

    Attributes:
        failure: What went wrong, if something did.
        listeners: Called with the step after every eval pass, while the model is still in eval mode.

    Raises:
        SettingError: A setting is outside its range.
    """

    def __init__(
        self,
        model: nn.Module,
        train_set: Any,
        *,
        task: str | Task = "classification",
        layers: Layers = "last",
        passes: Passes = "eval",
        every: int = 1,
        every_steps: int | None = None,
        batch_size: int | None = None,
        show_progress: bool = True,
    ) -> None:
        if passes not in ("eval", "train", "both"):
            raise SettingError(f"passes must be 'eval', 'train' or 'both', got {passes!r}")
        if every < 1 or (every_steps is not None and every_steps < 1):
            raise SettingError(
                f"every and every_steps must be at least 1, got every={every} and every_steps={every_steps}"
            )
        if not isinstance(model, nn.Module):
            raise ModelError(f"the model is a {type(model).__name__}: it must be a torch.nn.Module")
        self.model = unwrapped(model)
        self.samples = train_set.samples if isinstance(train_set, IndexedSet) else Samples(train_set)
        self.task, self.layers, self.passes = get_task(task), layers, passes
        self.every, self.every_steps = every, every_steps
        self.failure: str | None = None
        self.listeners: list[Callable[[int], None]] = []
        self.step, self.epoch = 0, 0
        self._data: DataIdentity | None = None
        self._eval_pass = EvalPass(self.model, self.samples, layers, batch_size, show_progress)
        self._recording, self._finished = Recording(len(self.samples)), False
        self._spent, self._began = 0.0, time.perf_counter()
        self._open()

    def _open(self) -> None:
        """Puts hooks on the model."""
        self._own_passes = OwnPasses(self.model, self.samples, self._guarded, self._take_pass, lambda: self.step)
        if self.passes != "eval":
            self._guarded(self._watch)

    def _watch(self) -> None:
        self.task = self._own_passes.watch(self.task, self.layers)

    def see(self, batch: Any) -> Any:
        """Takes the positions out of a batch of training and notes whose passes come next.

        Args:
            batch: A batch of a loader over :func:`~gradsift.indexed`.

        Returns:
            The batch as the training loop knows it.
        """
        plain, positions = split_positions(batch)
        if self.passes != "eval" and self.failure is None:
            if positions is None:
                self.fail("the batch carries no positions: train on gradsift.indexed(train_set), with its collate")
            else:
                self._own_passes.expect(plain, positions)
        return plain

    def end_step(self) -> None:
        """Says that an optimizer step is over; needed only where eval passes come every so many steps."""
        if self._own_passes.waits:
            self._guarded(self._take_pass)
        self.step += 1
        if self.every_steps is not None and self.passes != "train" and self.step % self.every_steps == 0:
            self._guarded(self.evaluate)

    def end_epoch(self) -> None:
        """Says that an epoch is over: closes the checkpoint of training's own passes, runs an eval pass where it is due."""
        self.epoch += 1
        self._guarded(self._take_pass)
        if self.passes != "eval":
            self._guarded(self._close_epoch)
        if self.passes != "train" and self.every_steps is None and self.epoch % self.every == 0:
            self._guarded(self.evaluate)

    def evaluate(self) -> None:
        """An eval pass over the training set at the model's present weights; in several processes each takes its part."""
        rank, count = rank_and_count()
        mine = np.arange(rank, len(self.samples), count)
        checkpoint = Checkpoint(len(self.samples), self.step)
        with in_eval_mode(self.model):
            if len(mine):
                self.task = task_for(self.task, self.model, self.samples)
                self._eval_pass.run(self.task, mine, checkpoint, self._recording.predictions["eval"])
            self._recording.checkpoints["eval"].append(checkpoint)
            for listener in self.listeners:
                listener(self.step)

    def finish(self) -> None:
        """Ends recording: takes the hooks off and puts together what several processes have recorded.

        Every process calls it once, after training; the trajectory of a single process is whole without it.
        """
        everyone = gathered((self.failure, self._recording))
        if len(everyone) > 1 and self.failure is None:
            failed = [f"process {rank}: {failure}" for rank, (failure, _) in enumerate(everyone) if failure]
            if failed:
                self.fail(failed[0])
            else:
                self._guarded(lambda: self._take_up(Recording.merged([recording for _, recording in everyone])))
        self._finished = True
        self._own_passes.close()

    def _take_up(self, recording: Recording) -> None:
        self._recording = recording

    def state_dict(self) -> dict[str, Any]:
        """All that was recorded so far, for a checkpoint from which the training is resumed.

        In several processes each one calls it, and gets what all of them have recorded.

        Returns:
            Tensors and plain values alone: ``torch.load(..., weights_only=True)`` reads it.
        """
        self._guarded(self._take_pass)
        self._guarded(self._compute_deferred)
        self._guarded(self._recognise)
        everyone = [(self.failure, self._recording)] if self._finished else gathered((self.failure, self._recording))
        return {
            "version": STATE_VERSION,
            "settings": self._settings(),
            "data": self._data.to_dict() if self._data is not None else None,
            "step": self.step,
            "epoch": self.epoch,
            "failure": next((failure for failure, _ in everyone if failure), None),
            "recording": Recording.merged([recording for _, recording in everyone]).state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from where :meth:`state_dict` was taken; what was recorded since then is dropped.

        In several processes each one calls it with the same state.

        Args:
            state: What it gave, for the same data set and settings.

        Raises:
            SettingError: It is no state of a recorder, or of one with other settings.
            DataError: It is of another data set, or of the same one in another order.
        """
        loaded = checked_state(state, self._settings(), self.samples, self._recognise())
        self._own_passes.close()
        self.step, self.epoch, self.failure = int(state["step"]), int(state["epoch"]), state["failure"]
        self._recording = loaded if rank_and_count()[0] == 0 else loaded.without_values()
        self._finished = False
        self._open()

    def _settings(self) -> dict[str, Any]:
        """What must be the same where a recording goes on."""
        layers = self.layers if isinstance(self.layers, str) else list(self.layers)
        return {"passes": self.passes, "task": type(self.task).__qualname__, "layers": layers}

    @property
    def trajectory(self) -> Trajectory:
        """What was recorded: the eval passes, or training's own passes where there are no others."""
        return self.of_mode("train" if self.passes == "train" else "eval")

    def of_mode(self, mode: Mode) -> Trajectory:
        """What was recorded in one way.

        Args:
            mode: ``"eval"`` or ``"train"``.

        Returns:
            The trajectory.

        Raises:
            DataError: Nothing was, with the reason where the recorder failed.
        """
        if not self._recording.checkpoints[mode]:
            why = self.failure or "call end_epoch() after each epoch, or use the callback of your trainer"
            raise DataError(f"the recorder holds no {mode} pass: {why}")
        return self._recording.trajectory(mode, self._recognise())

    def _recognise(self) -> DataIdentity:
        """What the data set is recognised by, which is read when the first trajectory or state is asked for."""
        if self._data is None:
            self._data = DataIdentity.of(self.samples)
        return self._data

    @property
    def overhead(self) -> float:
        """Share of the time since the recorder was made that recording has taken."""
        return self._spent / max(time.perf_counter() - self._began, 1e-9)

    def summary(self) -> str:
        """How much was recorded, what it cost, and how far training's own passes are from the eval passes."""
        words: list[str] = []
        self._guarded(lambda: words.append(self._recording.summary(self.overhead)))
        return words[0] if words else f"The recorder stopped: {self.failure}."

    def save(self, path: str | Location) -> Location:
        """Writes the trajectory for an audit in another process.

        Args:
            path: A new folder, such as ``runs/trajectory``.

        Returns:
            The path.
        """
        return self.trajectory.save(path)

    def fail(self, reason: str) -> None:
        """Stops recording, for a reason that is logged once; training goes on.

        Args:
            reason: What went wrong.
        """
        if self.failure is None:
            self.failure = reason
            logger.error("gradsift stops recording, training goes on: %s", reason)
        self.close()

    def close(self) -> None:
        """Takes the hooks off that read passes."""
        self._own_passes.stop()

    def _take_pass(self) -> None:
        self._own_passes.take(self._recording.pending)

    def _compute_deferred(self) -> None:
        self._own_passes.compute_deferred(self._recording.pending)

    def _close_epoch(self) -> None:
        self._compute_deferred()
        if any(UNKNOWN in statistics["positions"] for _, statistics in self._recording.pending):
            raise DataError(
                f"the collate function {self.samples.collation.name} reorders or mixes rows, so it is not known which "
                "sample each row is of: let it keep the order of the samples"
            )
        self._recording.close_epoch(self.step)

    def _guarded(self, action: Callable[[], object]) -> None:
        """Runs and times what may fail without ending the training."""
        if self.failure is not None:
            return
        started = time.perf_counter()
        try:
            action()
        except Exception as error:  # noqa: BLE001  # whatever it is, training goes on
            self.fail(f"{type(error).__name__}: {error}")
        finally:
            self._spent += time.perf_counter() - started
