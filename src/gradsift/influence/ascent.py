"""Moving a model's weights uphill for a while, and putting them back bit by bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn


@dataclass
class Move:
    """How far the weights have moved.

    Attributes:
        rate: Learning rates summed over the steps; 0 where there was no gradient.
        relative: Length of the whole move, relative to that of the weights.
    """

    rate: float = 0.0
    relative: float = 0.0


@contextmanager
def ascended(
    parameters: Mapping[str, nn.Parameter],
    direction: Callable[[], Mapping[str, Tensor]],
    *,
    steps: int = 1,
    rate: float | None = None,
    optimizer: Literal["sgd", "adam"] = "sgd",
    relative_step: float = 1e-3,
) -> Iterator[Move]:
    """Moves weights by gradient ascent; on leaving they are the old ones, bit by bit, whatever happens in between.

    Args:
        parameters: What moves, full name to parameter; half precision is summed up in float32.
        direction: Gives the gradient at the weights as they are, full name to a tensor of the parameter's shape.
        steps: Steps of ascent.
        rate: Their learning rate; ``None`` makes every step as long as ``relative_step`` times the weights, with Adam
            the first one (its rate then stays).
        optimizer: Plain ascent, or Adam with a fresh state (betas 0.9 and 0.999).
        relative_step: Length of a step relative to the weights, where no rate is given.

    Yields:
        How far they have moved.
    """
    saved = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    wide = {
        name: nn.Parameter(parameter.to(torch.promote_types(parameter.dtype, torch.float32), copy=True))
        for name, parameter in saved.items()
    }
    weights, move = length(wide), Move()
    kind = torch.optim.SGD if optimizer == "sgd" else torch.optim.Adam
    ascent, current = kind(list(wide.values()), lr=0.0, maximize=True), 0.0
    try:
        for step in range(steps):
            gradient = direction()
            if step == 0 or optimizer == "sgd":
                current = _rate(rate, optimizer, relative_step * (weights or 1.0), gradient)
            if not current:
                break
            for name, parameter in wide.items():
                parameter.grad = gradient[name].to(parameter)
            ascent.param_groups[0]["lr"] = current
            ascent.step()
            move.rate += current
            with torch.no_grad():
                for name, parameter in parameters.items():
                    parameter.copy_(wide[name])
        move.relative = length({name: parameter.detach() - saved[name] for name, parameter in wide.items()}) / (
            weights or 1.0
        )
        for parameter in wide.values():
            parameter.grad = None
        yield move
    finally:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(saved[name])


def length(vectors: Mapping[str, Tensor]) -> float:
    """L2 length of a vector that is held parameter by parameter.

    Args:
        vectors: Full name to tensor.

    Returns:
        The length.
    """
    return math.sqrt(sum(float(vector.detach().double().square().sum()) for vector in vectors.values()))


def _rate(rate: float | None, optimizer: str, wanted: float, gradient: Mapping[str, Tensor]) -> float:
    steep = length(gradient)
    if steep == 0:
        return 0.0
    if rate is not None:
        return rate
    return wanted / (steep if optimizer == "sgd" else math.sqrt(sum(part.numel() for part in gradient.values())))
