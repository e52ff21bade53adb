"""Robustness as a target: the loss on target samples that an attacker has moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from gradsift.data import to_model
from gradsift.data.batch import Batch, label_key
from gradsift.errors import DataError, SettingError, naming_samples
from gradsift.gradients.model_state import frozen
from gradsift.influence.targets.base import Target
from gradsift.tasks import Task, sample_losses

OVERSHOOT = 1.3
"""How far the linear attack goes, in distances to the decision boundary."""


class Adversarial(Target):
    """Mean loss of the target samples under attack; the attack is made against the model that is asked about.

    * ``"linear"``: across the nearest boundary, ``x' = x - 1.3 m(x) / |grad m|^2 grad m`` with m the margin between the
      predicted class and the next one. For a linear model this is the closed form ``x' = x - 1.3 (w x + b) / |w|^2 w``
      (Chhabra et al., ICLR 2024); for others one step of DeepFool (Moosavi-Dezfooli et al., CVPR 2016).
    * ``"fgsm"``: ``x' = x + epsilon sign(grad l)`` (Goodfellow, Shlens and Szegedy, ICLR 2015).
    * ``"pgd"``: steps of that kind from a random start, each put back into the box around x (Madry et al., ICLR 2018).

    Args:
        target_set: The samples, with floating-point inputs.
        attack: ``"linear"``, ``"fgsm"`` or ``"pgd"``.
        epsilon: Largest change of an entry, in units of the inputs; not of the linear attack.
        steps: Steps of ``"pgd"``, of size ``2.5 epsilon / steps``.
        limits: Least and largest value of an entry, such as (0, 1) for pixels; of every attack.
        seed: Seed of the random starts, 0 or more; a sample's start depends on it and on the sample's position alone, so
            that every question is about the same attack.

    Raises:
        SettingError: A setting is outside its range.
        DataError: There are no samples.
    """

    def __init__(
        self,
        target_set: Any,
        *,
        attack: Literal["linear", "fgsm", "pgd"] = "fgsm",
        epsilon: float = 0.1,
        steps: int = 10,
        limits: tuple[float, float] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(target_set)
        if attack not in ("linear", "fgsm", "pgd"):
            raise SettingError(f"attack is linear, fgsm or pgd; given {attack!r}")
        if not 0 < epsilon < np.inf or steps < 1 or seed < 0:
            raise SettingError(
                "epsilon must be a number above 0, steps at least 1 and seed 0 or more; given "
                f"{epsilon}, {steps} and {seed}"
            )
        if limits is not None and not limits[0] < limits[1]:
            raise SettingError(f"limits are (least, largest) with the least below the largest; given {limits}")
        self.attack, self.epsilon, self.steps, self.limits, self.seed = attack, epsilon, steps, limits, seed

    def batch(self, model: nn.Module, task: Task, positions: np.ndarray) -> Batch:
        """Some samples after the attack.

        Args:
            model: The model that is attacked; its parameters get no gradients.
            task: The task.
            positions: Which samples.

        Returns:
            The batch, with moved inputs.

        Raises:
            SettingError: The inputs are token ids or other whole numbers, or the linear attack meets a model that does
                not give one row of logits a sample.
            DataError: Labels cannot be used; names the samples.
        """
        plain = to_model(self.samples.batch(positions), model)
        inputs, put_back = _inputs(plain)

        def outputs_of(x: Tensor) -> Any:
            return task.outputs(model, put_back(x))

        with naming_samples(positions), frozen(model), torch.enable_grad():
            if self.attack == "linear":
                moved = inputs + _across_the_boundary(inputs, outputs_of)
            else:
                moved = self._ascend(inputs, lambda x: sample_losses(task, outputs_of(x), plain).sum(), positions)
        if self.limits is not None:
            moved = moved.clamp(*self.limits)
        return put_back(moved.detach())

    def _ascend(self, inputs: Tensor, loss: Callable[[Tensor], Tensor], positions: np.ndarray) -> Tensor:
        if self.attack == "fgsm":
            return inputs + self.epsilon * _slope(inputs, loss).sign()
        starts = []
        for position in positions.tolist():
            generator = np.random.default_rng([self.seed, position])
            starts.append(generator.uniform(-self.epsilon, self.epsilon, tuple(inputs.shape[1:])))
        moved = inputs + torch.from_numpy(np.stack(starts)).to(inputs)
        for _ in range(self.steps):
            moved = moved + 2.5 * self.epsilon / self.steps * _slope(moved, loss).sign()
            moved = inputs + (moved - inputs).clamp(-self.epsilon, self.epsilon)
            if self.limits is not None:
                moved = moved.clamp(*self.limits)
        return moved


def _slope(inputs: Tensor, value: Callable[[Tensor], Tensor]) -> Tensor:
    free = inputs.detach().requires_grad_()
    (slope,) = torch.autograd.grad(value(free), free)
    return slope


def _across_the_boundary(inputs: Tensor, outputs_of: Callable[[Tensor], Any]) -> Tensor:
    """The step to the nearest boundary, times the overshoot."""
    free = inputs.detach().requires_grad_()
    outputs = outputs_of(free)
    if not isinstance(outputs, Tensor) or outputs.ndim > 2:
        raise SettingError("the linear attack needs one row of logits a sample: take attack='fgsm' or 'pgd'")
    logits = outputs.reshape(len(inputs), -1)
    if logits.shape[1] == 1:  # of a single logit the boundary is at zero
        margins = [logits[:, 0]]
    else:
        best = logits.argmax(dim=1)
        own = logits.gather(1, best[:, None])[:, 0]
        margins = [own - logits[:, k] for k in range(logits.shape[1])]
    steps, distances = [], []
    for margin in margins:
        (slope,) = torch.autograd.grad(margin.sum(), free, retain_graph=True)
        squares = slope.flatten(1).square().sum(dim=1)
        shape = (-1, *[1] * (inputs.ndim - 1))
        share = torch.where(squares > 0, margin.detach() / squares.clamp_min(1e-30), torch.zeros_like(squares))
        steps.append(-share.view(shape) * slope)
        distances.append(torch.where(squares > 0, share.abs() * squares.sqrt(), torch.full_like(squares, torch.inf)))
    nearest = torch.stack(distances).argmin(dim=0)
    return OVERSHOOT * torch.stack(steps)[nearest, torch.arange(len(inputs), device=inputs.device)]


def _inputs(batch: Batch) -> tuple[Tensor, Callable[[Tensor], Batch]]:
    """The floating-point input of a batch, and how a batch is made with another one in its place."""
    if isinstance(batch, dict):
        label = label_key(batch)
        names = [k for k, v in batch.items() if k != label and isinstance(v, Tensor) and v.is_floating_point()]
        if len(names) == 1:
            return batch[names[0]], lambda x: batch | {names[0]: x}
        what = f"a dict with the floating-point inputs {names}"
    elif isinstance(batch, tuple | list) and len(batch) == 2 and isinstance(batch[0], Tensor):
        if batch[0].is_floating_point():
            return batch[0], lambda x: (x, batch[1])
        what = f"inputs of type {batch[0].dtype}"
    else:
        raise DataError(f"an attack needs batches (x, y) or dicts; given a {type(batch).__name__}")
    raise SettingError(
        f"an attack moves one floating-point input, here is {what}: tokens cannot be moved by small steps; take another "
        "target, or a model that is given embeddings"
    )
