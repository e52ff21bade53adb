"""Target samples that a model has memorised, moved to a point nearby where its loss says something again."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradsift.data.batch import LABEL_KEYS, Batch, label_key, map_tensors
from gradsift.influence.targets import Target
from gradsift.tasks import Task

GROWTH = 1.1
"""With every further draw the radius grows by this factor, as in the reference code of Forward-INF."""


@dataclass(frozen=True)
class Draw:
    """How a point was found.

    Attributes:
        draws: How many were drawn; none where the inputs are no floating-point numbers.
        radius: Of the sphere at the last draw.
        enough: Whether the point is far enough.
    """

    draws: int
    radius: float
    enough: bool


class Disturbed(Target):
    """A target whose samples are as before, but for some whose floating-point inputs are moved (labels are kept).

    Args:
        inner: The target.

    Attributes:
        offsets: Target position to what is added to each of its floating-point inputs.
    """

    def __init__(self, inner: Target) -> None:
        self.inner, self.samples = inner, inner.samples
        self.offsets: dict[int, list[Tensor]] = {}

    def values(self, task: Task, outputs: Any, batch: Batch) -> Tensor:
        """The inner target's; see :meth:`Target.values`."""
        return self.inner.values(task, outputs, batch)

    def weights(self, values: np.ndarray) -> np.ndarray:
        """The inner target's; see :meth:`Target.weights`."""
        return self.inner.weights(values)

    def batch(self, model: nn.Module, task: Task, positions: np.ndarray) -> Batch:
        """The inner target's, with offsets added; see :meth:`Target.batch`."""
        leaf = -1

        def shift(values: Tensor) -> Tensor:
            nonlocal leaf
            if not values.is_floating_point():
                return values
            leaf, values = leaf + 1, values.clone()
            for row, position in enumerate(positions.tolist()):
                if position in self.offsets:
                    values[row] += self.offsets[position][leaf].to(values)
            return values

        return map_inputs(shift, self.inner.batch(model, task, positions))

    def draw(
        self,
        model: nn.Module,
        task: Task,
        position: int,
        enough: Callable[[int], bool],
        *,
        radius: float,
        most: int,
        seed: int,
    ) -> Draw:
        """Draws points on spheres around a sample, ever farther away, until one is enough; it becomes the offset.

        Args:
            model: The model.
            task: The task.
            position: The sample.
            enough: Called with the position after each draw; tells whether to stop.
            radius: Of the first sphere, L2 over all of the sample's inputs.
            most: Draws at most; the last one stays.
            seed: Seed; draws depend on it and on the position alone.

        Returns:
            What was needed.
        """
        shapes: list[tuple[int, ...]] = []

        def note(values: Tensor) -> Tensor:
            if values.is_floating_point():
                shapes.append(tuple(values.shape[1:]))
            return values

        map_inputs(note, self.inner.batch(model, task, np.array([position])))
        if not shapes:
            return Draw(0, 0.0, False)
        generator = np.random.default_rng([seed, position])
        for count in range(1, most + 1):
            parts = [generator.standard_normal(shape) for shape in shapes]
            length = math.sqrt(sum(float(np.square(part).sum()) for part in parts))
            self.offsets[position] = [torch.as_tensor(part * (radius / length)) for part in parts]
            if enough(position):
                return Draw(count, radius, True)
            radius *= GROWTH
        return Draw(most, radius / GROWTH, False)


def map_inputs(function: Callable[[Tensor], Tensor], batch: Batch) -> Batch:
    """Applies a function to every tensor of a batch but its labels.

    Args:
        function: What to apply.
        batch: A tuple whose last element are the labels, a dict with a label key or without one, or one tensor of
            inputs.

    Returns:
        A batch of the same structure.
    """
    if isinstance(batch, dict):
        kept = {"id", label_key(batch)} if set(batch) & set(LABEL_KEYS) else {"id"}
        return {name: one if name in kept else map_tensors(function, one) for name, one in batch.items()}
    if isinstance(batch, tuple | list) and len(batch) > 1:
        return (*(map_tensors(function, one) for one in batch[:-1]), batch[-1])
    return map_tensors(function, batch)
