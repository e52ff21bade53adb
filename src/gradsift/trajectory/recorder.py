"""The recorder: per-sample statistics along training, from its own passes or from eval passes in between."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from gradsift.data import Samples
from gradsift.data.batch import Batch
from gradsift.errors import DataError, GradsiftError, ModelError, SettingError
from gradsift.gradients import Batcher, Layers, PerSampleGradients, Reductions
from gradsift.gradients.model_state import in_eval_mode, unwrapped
from gradsift.gradients.selection import select_parameters
from gradsift.progress import progress
from gradsift.store.processes import gathered, rank_and_count
from gradsift.tasks import Task, get_task, task_for
from gradsift.trajectory.checkpoints import Checkpoint
from gradsift.trajectory.identity import DataIdentity
from gradsift.trajectory.indexed import POSITIONS, UNKNOWN, IndexedSet, split_positions
from gradsift.trajectory.outputs import of_outputs, own_residual, ripe
from gradsift.trajectory.passes import TrainingPass
from gradsift.trajectory.predictions import predicted
from gradsift.trajectory.recording import Recording
from gradsift.trajectory.state import STATE_VERSION, checked_state
from gradsift.trajectory.trajectory import Mode, Trajectory

logger = logging.getLogger(__name__)

Passes = Literal["eval", "train", "both"]
RAW = 2**22
"""Logits of training passes that wait for their statistics, at most."""


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
            raise SettingError(f"passes is 'eval', 'train' or 'both'; given {passes!r}")
        if every < 1 or (every_steps is not None and every_steps < 1):
            raise SettingError(f"an eval pass every {every_steps or every} is none: give a whole number from 1")
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
        self._batch_size, self._show_progress = batch_size, show_progress
        self._recording, self._finished = Recording(len(self.samples)), False
        self._raw: list[tuple[int, dict[str, Tensor]]] = []
        self._pass: TrainingPass | None = None
        self._batch: tuple[Batch, Tensor] | None = None
        self._handles: list[Any] = []
        self._spent, self._began = 0.0, time.perf_counter()
        self._open()

    def _open(self) -> None:
        """Puts hooks on the model."""
        # A Trainer hands positions to the model as a keyword: they are taken out even after the recorder has failed.
        self._taking_out = self.model.register_forward_pre_hook(self._take_positions, with_kwargs=True)
        if self.passes != "eval":
            self._guarded(self._watch)

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
                self._batch = (plain, positions)
        return plain

    def end_step(self) -> None:
        """Says that an optimizer step is over; needed only where eval passes come every so many steps."""
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
                self._evaluate(mine, checkpoint)
            self._recording.checkpoints["eval"].append(checkpoint)
            for listener in self.listeners:
                listener(self.step)

    def _evaluate(self, mine: np.ndarray, checkpoint: Checkpoint) -> None:
        example = self.samples.batch(mine[:8])
        self.task = task_for(self.task, self.model, self.samples)
        gradients = PerSampleGradients(
            self.model, self.task, example, layers=self.layers, reductions=Reductions(l2=True)
        )
        if gradients.closed_form:
            gradients = gradients.keeping(Reductions(l1=True, l2=True))
        size = self._batch_size or Batcher.fitting(self.model, self.task, example).size
        with progress("eval pass", len(mine), show=self._show_progress) as bar:
            for start in range(0, len(mine), size):
                positions = mine[start : start + size]
                batch = self.samples.batch(positions)
                reduced = gradients(batch)
                found = dict(reduced.statistics) | {"loss": reduced.losses}
                if isinstance(reduced.outputs, Tensor):
                    losses, residual = own_residual(self.task, reduced.outputs, batch)
                    found |= of_outputs(self.task, reduced.outputs, losses, residual, batch)
                probabilities = predicted(self.task, reduced.outputs)
                if probabilities is not None:
                    self._recording.predictions["eval"].add(positions, probabilities)
                checkpoint.add(positions, found, self.step)
                bar.advance(len(positions))

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
        self.close()
        self._taking_out.remove()

    def _take_up(self, recording: Recording) -> None:
        self._recording = recording

    def state_dict(self) -> dict[str, Any]:
        """All that was recorded so far, for a checkpoint from which the training is resumed.

        In several processes each one calls it, and gets what all of them have recorded.

        Returns:
            Tensors and plain values alone: ``torch.load(..., weights_only=True)`` reads it.
        """
        self._guarded(self._take_pass)
        self._guarded(self._ripen)
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
        self.close()
        self._taking_out.remove()
        self.step, self.epoch, self.failure = int(state["step"]), int(state["epoch"]), state["failure"]
        self._recording = loaded if rank_and_count()[0] == 0 else loaded.without_values()
        self._raw, self._finished = [], False
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

    def save(self, path: str | Path) -> Path:
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
        for handle in self._handles:
            handle.remove()
        self._handles, self._batch = [], None

    def _watch(self) -> None:
        """Puts hooks on the model and on the layers chosen."""
        with in_eval_mode(self.model):
            self.task = task_for(self.task, self.model, self.samples.in_any_order)
            chosen = select_parameters(self.model, self.task, self.layers, self.samples.batch([0]))
        self._pass = TrainingPass(self.model, self.task, chosen, self._guarded)
        self._handles = [
            *(layer.register_forward_hook(self._layer_called) for layer in self._pass.layers),
            self.model.register_forward_hook(self._model_called),
        ]

    def _take_positions(self, _model: nn.Module, arguments: Any, keywords: dict[str, Any]) -> Any:
        """Before the model is called: takes out positions that came along as a keyword, as a Trainer passes them."""
        if POSITIONS not in keywords:
            return None
        rest, positions = split_positions(keywords)
        if positions is not None and self._handles and self.model.training:
            self._batch = (rest, positions)
        return arguments, rest

    def _layer_called(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        recording = self._pass
        if recording is not None and self._batch is not None and self.model.training:
            self._guarded(lambda: recording.layer_called(module, inputs, output))

    def _model_called(self, _model: nn.Module, _arguments: Any, returned: Any) -> None:
        if self._batch is not None and self.model.training:
            self._guarded(lambda: self._note(returned))

    def _note(self, returned: Any) -> None:
        noted, self._batch = self._batch, None
        if self._pass is None or noted is None:
            return
        batch, positions = noted
        self._take_pass()
        try:
            self._pass.model_called(returned, batch, positions)
        except GradsiftError:  # labels were taken out before the model was called
            self._pass.model_called(returned, self.samples.batch(positions.tolist()), positions)

    def _take_pass(self) -> None:
        found = self._pass.finish() if self._pass is not None else {}
        if "outputs" in found:
            self._raw.append((self.step, found))
            if len(self._raw) * found["outputs"].numel() > RAW:
                self._ripen()
        elif found:
            self._recording.pending.append((np.full(len(found["positions"]), self.step), found))

    def _ripen(self) -> None:
        """Statistics of the passes that wait for them, all at once."""
        waiting, self._raw = self._raw, []
        if waiting:
            kept = {name: torch.cat([found[name] for _, found in waiting]) for name in waiting[0][1]}
            positions = kept.pop("positions")
            steps = np.repeat([step for step, _ in waiting], [len(found["labels"]) for _, found in waiting])
            self._recording.pending.append((steps, {"positions": positions} | ripe(self.task, kept)))

    def _close_epoch(self) -> None:
        self._ripen()
        if any(UNKNOWN in found["positions"] for _, found in self._recording.pending):
            raise DataError(
                f"the collate function {self.samples.collation.name} gives rows of which it cannot be told whose they "
                "are: let it keep the order of the samples"
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
