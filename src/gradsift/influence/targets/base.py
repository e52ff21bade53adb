"""A target: a differentiable quantity of the model, which helpful training samples lower."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradsift.curvature.loss import wide
from gradsift.curvature.vectors import Directions
from gradsift.data import Samples, to_model
from gradsift.data.batch import Batch
from gradsift.errors import DataError, SampleError
from gradsift.gradients import Batcher, Precision
from gradsift.gradients.model_state import evaluated, precision_of
from gradsift.gradients.probe import check_finite_inputs
from gradsift.influence.sample_gradients import SampleGradients
from gradsift.tasks import Task, sample_losses


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
        parts = []
        for positions, batch in self._batches(model, task):
            with naming(positions), precision_of(model, precision):
                values = evaluated(partial(self._values_at, model, task, batch))
                check_finite(values, positions)
            parts.append(values.double().cpu().numpy())
        return np.concatenate(parts)

    def _values_at(self, model: nn.Module, task: Task, batch: Batch) -> Tensor:
        return self.values(task, task.outputs(model, batch), batch)

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
        found = {name: torch.zeros_like(p, dtype=wide(p.dtype))[None] for name, p in parameters.items()}
        for positions, batch in self._batches(model, task):
            with naming(positions), torch.enable_grad(), precision_of(model, precision):
                values = self.values(task, task.outputs(model, batch), batch)
                total = values @ torch.from_numpy(weights[positions]).to(values)
                if not total.requires_grad:
                    continue
                parts = torch.autograd.grad(total, list(parameters.values()), allow_unused=True, materialize_grads=True)
            for name, part in zip(parameters, parts, strict=True):
                found[name] += part.detach().to_dense().to(found[name])
        return found

    def directions(self, gradients: SampleGradients) -> Iterator[Directions]:
        """The gradient of every sample's quantity, a chunk of samples at a time.

        Args:
            gradients: The training set's, for model, task, parameters and what fits into memory.

        Yields:
            Vectors, in the order of the samples.
        """
        model, task = gradients.model, gradients.task
        wanted = list(gradients.parameters.values())
        for start in range(0, len(self.samples), gradients.chunk):
            columns = []
            for position in range(start, min(start + gradients.chunk, len(self.samples))):
                one = np.array([position])
                batch = to_model(self.batch(model, task, one), model)
                check_finite_inputs(batch, one)
                with naming(one), torch.enable_grad(), precision_of(model, gradients.precision):
                    value = self.values(task, task.outputs(model, batch), batch)
                    check_finite(value, one)
                    columns.append(torch.autograd.grad(value.sum(), wanted, allow_unused=True, materialize_grads=True))
            yield {
                name: torch.stack([column[place].detach().to_dense() for column in columns]).to(gradients.dtype)
                for place, name in enumerate(gradients.parameters)
            }

    def _batches(self, model: nn.Module, task: Task) -> Iterator[tuple[np.ndarray, Batch]]:
        few = self.samples.batch(np.arange(min(4, len(self.samples))))
        size = Batcher.fitting(model, task, few).size
        for start in range(0, len(self.samples), size):
            positions = np.arange(start, min(start + size, len(self.samples)))
            batch = to_model(self.batch(model, task, positions), model)
            check_finite_inputs(batch, positions)
            yield positions, batch


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


@contextmanager
def naming(positions: np.ndarray) -> Iterator[None]:
    """Turns complaints about rows of a batch into ones about positions in the target set.

    Args:
        positions: The position of every row.

    Yields:
        Nothing.

    Raises:
        DataError: A row cannot be used.
    """
    try:
        yield
    except SampleError as error:
        raise error.at(positions.tolist()) from error
