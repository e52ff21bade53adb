"""Models, losses and batches with conventions of their own: gradients equal a plain one-sample loop, or they are refused.

Each case gives a model, a data set, a task and the loss of one sample in plain torch; the L2 norms that an audit of all
layers stores are compared with those of a loop over samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from chaos.isolation import forked
from chaos.stage import Row, Stage, row, spread

COUNT = 1000
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Convention:
    """One model with its data.

    Attributes:
        kind: What is unusual.
        name: Which sibling.
        make: Gives model, data set and task.
        loss: From model and position to the loss of that sample; ``None`` where it must be refused.
        more: Further arguments of the audit.
    """

    kind: str
    name: str
    make: Callable[[], tuple[Any, Any, Any]]
    loss: Callable[[Any, int], torch.Tensor] | None
    more: dict[str, Any] = field(default_factory=dict)


def cases() -> list[Convention]:
    """Every case, in a fixed order."""
    from chaos import convention_batches, convention_outputs

    return [*convention_outputs.cases(), *convention_batches.cases()]


def attack(stage: Stage, count: int) -> list[Row]:
    """Audits every case.

    Args:
        stage: Where.
        count: At most how many.
    """
    every = list(range(len(cases())))
    return stage.map(_attempt, [(number, stage.template) for number in spread(every, count)])


def _attempt(case: tuple[int, Path], place: Path) -> Row:
    one = cases()[case[0]]
    place.mkdir(parents=True)
    ended = forked(partial(difference, one), place)
    name = f"{one.kind}: {one.name}"
    if ended.kind == "refused":
        return row(name, "refused", detail=ended.tail)
    if ended.kind != "done":
        return row(name, ended.kind, True, ended.tail)
    if one.loss is None:
        return row(name, "silently accepted", True)
    off, said = ended.value
    if off > TOLERANCE and "probabilit" in said:
        return row(name, "said", detail=said)
    return row(name, "right" if off <= TOLERANCE else "silently wrong", off > TOLERANCE, f"off by {off:.3g}; {said}")


def difference(one: Convention) -> tuple[float, str]:
    """Largest relative difference of L2 norms from the loop, and the audit's warnings.

    Args:
        one: The case.
    """
    import gradsift

    torch.manual_seed(0)
    model, data, task = one.make()
    options = {"layers": "all", "detectors": ("l2",), "contamination": 0.1, "shard_size": 16} | one.more
    found = gradsift.audit(model, data, task=task, show_progress=False, **options)
    norms = found.gradients.norms(2)
    if one.loss is None:
        return 0.0, ""
    expected = np.array([_norm(model, one.loss, position) for position in range(len(found))])
    off = np.abs(norms - expected) / np.maximum(expected, 1e-6 * expected.max() + 1e-12)
    return float(off.max()), "; ".join(found.warnings)


def _norm(model: nn.Module, loss: Callable[[Any, int], torch.Tensor], position: int) -> float:
    model.zero_grad(set_to_none=True)
    loss(model, position).backward()
    squares = [
        torch.view_as_real(p.grad).square().sum() if p.grad.is_complex() else p.grad.square().sum()
        for p in model.parameters()
        if p.grad is not None
    ]
    return float(sum(square.double() for square in squares)) ** 0.5
