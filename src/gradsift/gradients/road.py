"""What every road to per-sample gradients has in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from gradsift.data.batch import Batch
from gradsift.gradients.forms import Form

Take = Callable[[str, Form], None]
"""Called with a parameter's name and the per-sample gradients of one batch."""


@dataclass
class Reduced:
    """One batch: its outputs, losses and reduced per-sample gradients.

    Attributes:
        outputs: What the task's ``outputs`` gave, detached.
        losses: Shape (n,).
        statistics: ``l1``, ``l2`` (n,), ``projection`` (n, dim), ``products`` (n, m), ``residual`` (n, K) and
            ``features`` (n, D), as asked for.
    """

    outputs: Any
    losses: Tensor
    statistics: dict[str, Tensor]


class Road(Protocol):
    """A way to per-sample gradients of some parameters."""

    name: str

    def run(self, batch: Batch) -> Reduced:
        """Computes and reduces the gradients of one batch.

        Args:
            batch: The batch, on the model's device.

        Returns:
            Outputs, losses and reductions.
        """
        ...

    def visit(self, batch: Batch, begin: Callable[[int], Take]) -> tuple[Any, Tensor]:
        """Computes the gradients of one batch and hands them over parameter by parameter, unreduced.

        Args:
            batch: The batch, on the model's device.
            begin: Called with the number of samples; gives what takes a parameter's name and form.

        Returns:
            Outputs and losses.
        """
        ...
