"""The recorder: per-sample statistics along training, from its own passes or from eval passes in between."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import cached_property
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
from gradsift.trajectory.checkpoints import Checkpoint, trajectory_of
from gradsift.trajectory.identity import DataIdentity
from gradsift.trajectory.indexed import POSITIONS, UNKNOWN, IndexedSet, split_positions
from gradsift.trajectory.outputs import of_outputs, own_residual, ripe
from gradsift.trajectory.passes import TrainingPass
from gradsift.trajectory.predictions import MeanPredictions, predicted
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
        self._batch_size, self._show_progress = batch_size, show_progress
        self._checkpoints: dict[Mode, list[Checkpoint]] = {"train": [], "eval": []}
        self._predictions: dict[Mode, MeanPredictions] = {
            mode: MeanPredictions(len(self.samples)) for mode in self._checkpoints
        }
        self._seen: list[tuple[int | np.ndarray, dict[str, Tensor]]] = []
        self._raw: list[tuple[int, dict[str, Tensor]]] = []
        self._pass: TrainingPass | None = None
        self._batch: tuple[Batch, Tensor] | None = None
        self._handles: list[Any] = []
        self._spent, self._began = 0.0, time.perf_counter()
        # A Trainer hands positions to the model as a keyword: they are taken out even after the recorder has failed.
        self._taking_out = self.model.register_forward_pre_hook(self._take_positions, with_kwargs=True)
        if passes != "eval":
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
            self._checkpoints["eval"].append(checkpoint)
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
                    self._predictions["eval"].add(positions, probabilities)
                checkpoint.add(positions, found, self.step)
                bar.advance(len(positions))

    def finish(self) -> None:
        """Ends recording: takes the hooks off and puts together what several processes have recorded.

        Every process calls it once, after training; the trajectory of a single process is whole without it.
        """
        everyone = gathered((self.failure, self._checkpoints, self._predictions))
        if len(everyone) > 1 and self.failure is None:
            failed = [f"process {rank}: {failure}" for rank, (failure, *_) in enumerate(everyone) if failure]
            if failed:
                self.fail(failed[0])
            else:
                self._guarded(lambda: self._merge([(checkpoints, means) for _, checkpoints, means in everyone]))
        self.close()
        self._taking_out.remove()

    def _merge(self, everyone: list[tuple[dict[Mode, list[Checkpoint]], dict[Mode, MeanPredictions]]]) -> None:
        rank, _ = rank_and_count()
        for other, (theirs, means) in enumerate(everyone):
            for mode, checkpoints in self._checkpoints.items() if other != rank else ():
                for own, their in zip(checkpoints, theirs[mode], strict=True):
                    own.merge(their)
                self._predictions[mode].merge(means[mode])

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
        if not self._checkpoints[mode]:
            why = self.failure or "call end_epoch() after each epoch, or use the callback of your trainer"
            raise DataError(f"the recorder holds no {mode} pass: {why}")
        return trajectory_of(mode, self._checkpoints[mode], self._predictions[mode].mean(), self._data)

    @cached_property
    def _data(self) -> DataIdentity:
        """The data set, read for it when the first trajectory is asked for."""
        return DataIdentity.of(self.samples)

    @property
    def overhead(self) -> float:
        """Share of the time since the recorder was made that recording has taken."""
        return self._spent / max(time.perf_counter() - self._began, 1e-9)

    def summary(self) -> str:
        """How much was recorded, what it cost, and how far training's own passes are from the eval passes."""
        words: list[str] = []
        self._guarded(lambda: words.append(self._summary()))
        return words[0] if words else f"The recorder stopped: {self.failure}."

    def _summary(self) -> str:
        counts = ", ".join(
            f"{len(found)} checkpoints from {mode} passes" for mode, found in self._checkpoints.items() if found
        )
        text = f"Recorded {counts or 'nothing'}, {100 * self.overhead:.1f} % of the time of training."
        if self.passes == "both" and all(self._checkpoints.values()):
            compared = self.of_mode("train").compared(self.of_mode("eval"))
            words = [
                f"{name} rank correlation {found['rank_correlation']:.2f}, median difference "
                f"{100 * found['median_relative_difference']:.0f} %"
                for name, found in sorted(compared.items())
                if name in ("loss", "l2")
            ]
            text += f" Training's own passes against eval passes: {'; '.join(words)}." if words else ""
        return text

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
            self.task = task_for(self.task, self.model, self.samples)
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
            self._seen.append((self.step, found))

    def _ripen(self) -> None:
        """Statistics of the passes that wait for them, all at once."""
        waiting, self._raw = self._raw, []
        if waiting:
            kept = {name: torch.cat([found[name] for _, found in waiting]) for name in waiting[0][1]}
            positions = kept.pop("positions")
            steps = np.repeat([step for step, _ in waiting], [len(found["labels"]) for _, found in waiting])
            self._seen.append((steps, {"positions": positions} | ripe(self.task, kept)))

    def _close_epoch(self) -> None:
        self._ripen()
        if not self._seen:
            raise DataError(
                "an epoch went by without a batch whose positions are known: train on gradsift.indexed(...)"
            )
        checkpoint = Checkpoint(len(self.samples), self.step)
        for step, found in self._seen:
            positions = found.pop("positions").cpu().numpy()
            if UNKNOWN in positions:
                raise DataError(
                    f"the collate function {self.samples.collation.name} gives rows of which it cannot be told whose they "
                    "are: let it keep the order of the samples"
                )
            if "predictions" in found:
                self._predictions["train"].add(positions, found.pop("predictions"))
            checkpoint.add(positions, found, step)
        self._seen = []
        self._checkpoints["train"].append(checkpoint)

    def _guarded(self, action: Callable[[], None]) -> None:
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
