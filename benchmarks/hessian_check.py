"""How far two ways to a Hessian-vector product are from finite differences, on models of transformers, in float64.

    python benchmarks/hessian_check.py        # seconds; decision 5 has the figures

curvlinops' own Hessian goes forward over a backward pass under ``vmap``; ours goes through two backward passes.
"""

from __future__ import annotations

import sys
from collections import UserDict
from pathlib import Path
from typing import Any

import torch
from curvlinops import HessianLinearOperator
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from gradsift.curvature import Hessian, MeanLoss
from gradsift.tasks import get_task, sample_losses

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.families import BY_NAME

STEP = 1e-5


class Held:
    """A batch where curvlinops expects a tensor of labels."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch

    def to(self, _device: torch.device) -> Held:
        return self


class Outputs(nn.Module):
    """The task's outputs, as curvlinops asks for them."""

    def __init__(self, model: nn.Module, task: Any) -> None:
        super().__init__()
        self.model, self._task = model, task

    def forward(self, held: Any) -> Any:
        return self._task.outputs(self.model, held["batch"])


class MeanOf(nn.Module):
    """The mean loss, as curvlinops asks for it."""

    reduction = "mean"

    def __init__(self, task: Any) -> None:
        super().__init__()
        self._task = task

    def forward(self, outputs: Any, held: Held) -> torch.Tensor:
        return sample_losses(self._task, outputs, held.batch).mean()


def check(name: str) -> str:
    family = BY_NAME[name]
    model, batch, task = family.make(torch.float64), family.batch(4, torch.float64), get_task(family.task)
    named = dict(model.named_parameters())
    values = list(named.values())
    ours = Hessian(MeanLoss(model, task, named, [batch], 4))
    vector = torch.randn(ours.size, generator=torch.Generator().manual_seed(0)).double()
    parts = [part.view_as(one) for part, one in zip(vector.split([v.numel() for v in values]), values, strict=True)]

    def slope(sign: int) -> torch.Tensor:
        with torch.no_grad():
            for value, part in zip(values, parts, strict=True):
                value.add_(part, alpha=sign * STEP)
        with sdpa_kernel(SDPBackend.MATH):
            loss = task.losses(task.outputs(model, batch), batch).mean()
        found = torch.autograd.grad(loss, values, allow_unused=True, materialize_grads=True)
        with torch.no_grad():
            for value, part in zip(values, parts, strict=True):
                value.sub_(part, alpha=sign * STEP)
        return torch.cat([one.flatten() for one in found])

    expected = (slope(1) - slope(-1)) / (2 * STEP)

    def distance(found: torch.Tensor) -> str:
        return f"{float((found - expected).norm() / expected.norm()):.1e}"

    theirs: Any = HessianLinearOperator(
        Outputs(model, task), MeanOf(task), values, [(UserDict(batch=batch), Held(batch))], num_data=4,
        batch_size_fn=lambda _held: 4, check_deterministic=False,
    )  # fmt: skip
    try:
        with sdpa_kernel(SDPBackend.MATH):
            other = distance(theirs @ vector)
    except RuntimeError as error:
        other = str(error).splitlines()[0]
    return f"{name:22s} two backward passes {distance(ours(vector[None])[0])}   curvlinops {other}"


if __name__ == "__main__":
    for name in BY_NAME:
        print(check(name), flush=True)
