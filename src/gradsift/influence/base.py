"""What all influence methods have in common: fit on the training set, then ask about targets."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import nn

from gradsift.curvature.vectors import Directions
from gradsift.data import Samples
from gradsift.data.overlap import warn_of_overlap
from gradsift.errors import SettingError
from gradsift.gradients import Layers, Precision
from gradsift.influence.sample_gradients import SampleGradients
from gradsift.influence.targets import as_target
from gradsift.tasks import Task


class Influence:
    """Signed influence of training samples on a target; positive = helpful, it lowers the target.

    Args:
        task: What a sample's loss is; a task or its name.
        layers: Whose parameters: ``"all"``, ``"last"``, or glob patterns.
        batch_size: Samples a batch, or ``"auto"``.
        precision: Precision of the passes.
        show_progress: Whether to show progress bars.

    Attributes:
        gradients_: The training samples' gradients, after ``fit``.
        report_: What the method has measured and had to change on the way (damping, steps, divergence), after ``fit`` and
            ``influence``.
    """

    def __init__(
        self,
        *,
        task: str | Task = "classification",
        layers: Layers = "all",
        batch_size: int | Literal["auto"] = "auto",
        precision: Precision = "float32",
        show_progress: bool = True,
    ) -> None:
        self.task, self.layers, self.batch_size = task, layers, batch_size
        self.precision, self.show_progress = precision, show_progress
        self.report_: dict[str, Any] = {}

    def fit(self, model: nn.Module, train_set: Any) -> Self:
        """Prepares the method for a trained model and its training set.

        Args:
            model: The trained model, in eval mode; its weights must stay as they are.
            train_set: The data set that it was trained on.

        Returns:
            The method itself.
        """
        return self.fit_gradients(
            SampleGradients(
                model,
                train_set,
                task=self.task,
                layers=self.layers,
                batch_size=self.batch_size,
                precision=self.precision,
                show_progress=self.show_progress,
            )
        )

    def fit_gradients(self, gradients: SampleGradients) -> Self:
        """Prepares the method on gradients that several methods share; their task and layers count.

        Args:
            gradients: The training samples' gradients.

        Returns:
            The method itself.
        """
        self.gradients_, self.report_ = gradients, {}
        self._prepare()
        return self

    def influence(self, target: Any, *, each: bool = False) -> np.ndarray:
        """Influence of every training sample.

        Args:
            target: A data set, for its mean loss, or a :class:`~gradsift.influence.targets.Target`.
            each: Whether to ask about every target sample by itself.

        Returns:
            Shape (n_train,) for the target as a whole, (n_train, n_target) with ``each``; float64, positive = helpful.

        Raises:
            SettingError: ``fit`` has not been called.
            DataError: The target is empty or its samples cannot be used.
        """
        gradients, target = self._fitted(), as_target(target)
        warn_of_overlap(gradients.samples, target.samples)
        with self._solving(target.samples) as solve:
            if each:
                columns = [gradients.products(solve(directions)) for directions in target.directions(gradients)]
                return np.concatenate(columns, axis=1)
            direction = target.direction(gradients.model, gradients.task, gradients.parameters, gradients.precision)
            return gradients.products(solve(direction))[:, 0]

    def self_influence(self) -> np.ndarray:
        """Influence of every training sample on its own loss, ``+ g_j^T H^-1 g_j``.

        Returns:
            Shape (n_train,), float64; high = the model leans on this sample alone, as it does on wrong labels.
        """
        gradients = self._fitted()
        influence = np.empty(len(gradients))
        size = min(gradients.chunk, gradients.batch_size)
        with self._solving(gradients.samples) as solve:
            for start in range(0, len(gradients), size):
                own = gradients.rows(np.arange(start, min(start + size, len(gradients))))
                # The solved vectors may share memory with what they were solved from.
                solved = solve({name: vectors.clone() for name, vectors in own.items()})
                products = sum(torch.einsum("nd,nd->n", own[n].flatten(1), solved[n].flatten(1)).double() for n in own)
                influence[start : start + len(next(iter(own.values())))] = torch.as_tensor(products).cpu().numpy()
        return influence

    def with_settings(self, **settings: Any) -> Self:
        """The same method, not yet fitted, with some settings changed.

        Args:
            settings: Names of attributes to values.

        Returns:
            A copy.
        """
        other = copy.copy(self)
        other.report_ = {}
        vars(other).pop("gradients_", None)
        for name, value in settings.items():
            setattr(other, name, value)
        return other

    def _prepare(self) -> None:
        """What the method needs from the training set before it can solve; nothing for most."""

    @contextmanager
    def _solving(self, samples: Samples) -> Iterator[Callable[[Directions], Directions]]:
        """What takes vectors to ``H^-1 v`` while a question about some samples is answered; ``_solve`` for most methods."""
        yield self._solve

    def _solve(self, directions: Directions) -> Directions:
        """``H^-1 v`` for each of m vectors, with the method's own idea of H."""
        raise SettingError(f"{type(self).__name__} solves no linear system by itself: call influence or self_influence")

    def _fitted(self) -> SampleGradients:
        if not hasattr(self, "gradients_"):
            raise SettingError(f"{type(self).__name__} is not fitted: call fit(model, train_set) first")
        return self.gradients_
