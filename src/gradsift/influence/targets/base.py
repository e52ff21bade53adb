"""A target: a differentiable quantity of the model, which helpful training samples lower."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from gradsift.curvature.loss import wide
from gradsift.curvature.vectors import Directions
from gradsift.data import Samples
from gradsift.data.batch import Batch
from gradsift.errors import DataError
from gradsift.gradients import Batcher, Precision
from gradsift.gradients.batches import each_batch, on_batch
from gradsift.gradients.model_state import evaluated, precision_of
from gradsift.influence.sample_gradients import SampleGradients
from gradsift.tasks import Task, sample_losses

T = TypeVar("T")


class Target:
    """A weighted sum over target samples, ``F = sum_i w_i f_i``, that is to become smaller; here their mean loss.

    A target of your own derives from this and overrides ``values`` (what f is), ``weights`` (what w is), or ``batch`` (what
    the model sees).

    Args:
        target_set: The samples; anything that :func:`gradsift.audit` takes.

    Attributes:
        samples: The samples.

    Raises:
        DataError: There are none.
    """

    def __init__(self, target_set: Any) -> None:
        self.samples = Samples(target_set)

    def values(self, task: Task, outputs: Any, batch: Batch) -> Tensor:
        """The quantity of each sample.

        Args:
            task: The task.
            outputs: What ``task.outputs`` gave.
            batch: The batch.

        Returns:
            Shape (n,), differentiable: the loss.
        """
        return sample_losses(task, outputs, batch)

    def weights(self, values: np.ndarray) -> np.ndarray:
        """The weight of each sample's quantity.

        Args:
            values: All samples' quantities at the model's weights, shape (m,).

        Returns:
            Shape (m,): one part each.
        """
        return np.full(len(values), 1 / len(values))

    def batch(self, model: nn.Module, task: Task, positions: np.ndarray) -> Batch:
        """What the model sees of some samples.

        Args:
            model: The model.
            task: The task.
            positions: Which samples.

        Returns:
            The batch.
        """
        return self.samples.batch(positions)

    def evaluate(self, model: nn.Module, task: Task, precision: Precision = "float32") -> np.ndarray:
        """All samples' quantities.

        Args:
            model: The model.
            task: The task.
            precision: Precision of the passes.

        Returns:
            Shape (m,), float64.

        Raises:
            DataError: Samples cannot be used; names them.
        """

        def evaluate(positions: np.ndarray, batch: Batch) -> np.ndarray:
            with precision_of(model, precision):
                values = evaluated(lambda: self.values(task, task.outputs(model, batch), batch))
            check_finite(values, positions)
            return values.double().cpu().numpy()

        return np.concatenate(list(self._each_batch(evaluate, model, task)))

    def value(self, model: nn.Module, task: Task, precision: Precision = "float32") -> float:
        """The target itself, ``sum_i w_i f_i``.

        Args:
            model: The model.
            task: The task.
            precision: Precision of the passes.

        Returns:
            A number; smaller is better.
        """
        values = self.evaluate(model, task, precision)
        return float(self.weights(values) @ values)

    def direction(
        self, model: nn.Module, task: Task, parameters: Mapping[str, nn.Parameter], precision: Precision = "float32"
    ) -> Directions:
        """The target's gradient.

        Args:
            model: The model.
            task: The task.
            parameters: Full name to parameter.
            precision: Precision of the passes.

        Returns:
            One vector.

        Raises:
            DataError: Samples cannot be used.
        """
        weights = self.weights(self.evaluate(model, task, precision))
        direction = {name: torch.zeros_like(p, dtype=wide(p.dtype))[None] for name, p in parameters.items()}

        def weighted_sum(positions: np.ndarray, batch: Batch) -> dict[str, Tensor]:
            with torch.enable_grad(), precision_of(model, precision):
                values = self.values(task, task.outputs(model, batch), batch)
                return gradient_of(values @ torch.from_numpy(weights[positions]).to(values), parameters)

        for gradient in self._each_batch(weighted_sum, model, task):
            for name, part in gradient.items():
                direction[name] += part.to(direction[name])
        return direction

    def directions(self, gradients: SampleGradients) -> Iterator[Directions]:
        """The gradient of every sample's quantity, a chunk of samples at a time.

        Args:
            gradients: The training set's, for model, task, parameters and what fits into memory.

        Yields:
            Vectors, in the order of the samples.
        """
        for start in range(0, len(self.samples), gradients.chunk):
            columns = [
                self.gradient_at(position, gradients)
                for position in range(start, min(start + gradients.chunk, len(self.samples)))
            ]
            yield {
                name: torch.stack([column[name] for column in columns]).to(gradients.dtype)
                for name in gradients.parameters
            }

    def gradient_at(self, position: int, gradients: SampleGradients) -> dict[str, Tensor]:
        """The gradient of one sample's quantity at the model's present weights.

        Args:
            position: Which sample.
            gradients: The training set's, for model, task and parameters.

        Returns:
            Full name to gradient, of the parameter's shape.

        Raises:
            DataError: The sample cannot be used, or its quantity is NaN or infinite.
        """
        model, task = gradients.model, gradients.task

        def gradient(positions: np.ndarray, batch: Batch) -> dict[str, Tensor]:
            with torch.enable_grad(), precision_of(model, gradients.precision):
                value = self.values(task, task.outputs(model, batch), batch)
                check_finite(value, positions)
                return gradient_of(value.sum(), gradients.parameters)

        return on_batch(gradient, partial(self.batch, model, task), np.array([position]), model=model)

    def value_at(self, position: int, gradients: SampleGradients) -> float:
        """One sample's quantity at the model's present weights.

        Args:
            position: Which sample.
            gradients: The training set's, for model, task and precision.

        Returns:
            A number; NaN or infinite where it is.
        """
        model, task = gradients.model, gradients.task

        def value(_positions: np.ndarray, batch: Batch) -> float:
            with torch.no_grad(), precision_of(model, gradients.precision):
                return float(self.values(task, task.outputs(model, batch), batch).double().sum())

        return on_batch(value, partial(self.batch, model, task), np.array([position]), model=model, finite=False)

    def _each_batch(self, function: Callable[[np.ndarray, Batch], T], model: nn.Module, task: Task) -> Iterator[T]:
        """What a function gives for each batch of the samples."""
        size = Batcher.fitting(model, task, self.samples.batch(np.arange(min(4, len(self.samples))))).size
        read, positions = partial(self.batch, model, task), np.arange(len(self.samples))
        return (result for _, result in each_batch(function, read, positions, size, model=model))


class Utility(Target):
    """The mean loss of the target samples; what a data set becomes when it is given as a target."""


def as_target(target: Any) -> Target:
    """Takes a data set for its mean loss.

    Args:
        target: A data set or a target.

    Returns:
        The target.

    Raises:
        DataError: It is neither.
    """
    if isinstance(target, Target):
        return target
    if target is None:
        raise DataError(
            "no target is given: pass a data set, such as a validation set, or a target such as Utility(...)"
        )
    return Utility(target)


def check_finite(values: Tensor, positions: np.ndarray) -> None:
    """Refuses target samples whose quantity is NaN or infinite: every influence would be NaN.

    Args:
        values: The samples' quantities, shape (n,).
        positions: Their positions in the target set.

    Raises:
        DataError: Some are not finite.
    """
    broken = positions[(~torch.isfinite(values.detach())).cpu().numpy()]
    if len(broken):
        raise DataError(
            f"the target is NaN or infinite at its positions {broken[:10].tolist()}: leave these samples out"
        )


def gradient_of(value: Tensor, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """The gradient of a number that a model has given.

    Args:
        value: The number.
        parameters: Full name to parameter.

    Returns:
        Full name to gradient; zeros where the number does not depend on the parameter.
    """
    if not value.requires_grad:
        return {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    parts = torch.autograd.grad(value, list(parameters.values()), allow_unused=True, materialize_grads=True)
    return {name: part.detach().to_dense() for name, part in zip(parameters, parts, strict=True)}
