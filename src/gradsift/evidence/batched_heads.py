"""Several small heads on features, trained side by side: their parameters have a leading axis over heads."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

DROPOUT = 0.2
"""Share of hidden units that are left out of a training step."""
RATE, DECAY = 1e-3, 1e-4
"""Step size and weight decay of Adam."""


def inputs_at(inputs: Tensor, places: Tensor) -> Tensor:
    """Rows of inputs for several heads.

    Args:
        inputs: Shape (n, D).
        places: Which rows each head sees, shape (count, m).

    Returns:
        Shape (count, m, D).
    """
    return inputs.index_select(0, places.flatten()).unflatten(
        0, places.shape
    )  # whole rows, five times as fast as [places]


class BatchedHeads:
    """Linear heads, or perceptrons with dropout, as batched products.

    Args:
        sizes: Numbers of inputs, of hidden units where there are some, and of classes.
        count: Number of heads.
        generator: Draws the start, and then the dropout.
        alike: Whether all heads start alike and leave out the same hidden units, so that they differ in their data alone.

    Attributes:
        weights: Weight (count, after, before) and bias (count, after, 1) of each layer in turn, so that products are
            narrow where there are few classes.
        optimizer: Adam over all of them.
    """

    def __init__(self, sizes: Sequence[int], count: int, generator: torch.Generator, *, alike: bool) -> None:
        self._generator, self._alike, self.weights = generator, alike, list[Tensor]()
        for before, after in pairwise(sizes):
            for shape in ((before, after), (1, after)):
                start = torch.empty(shape if alike else (count, *shape))
                start.uniform_(-(before**-0.5), before**-0.5, generator=generator)
                start = (start.repeat(count, 1, 1) if alike else start).mT.contiguous()
                self.weights.append(start.requires_grad_())
        self.optimizer = torch.optim.Adam(self.weights, lr=RATE, weight_decay=DECAY, fused=True)

    def logits(self, inputs: Tensor) -> Tensor:
        """Logits of a training step, with dropout.

        Args:
            inputs: What each head sees, shape (count, m, D).

        Returns:
            Shape (count, m, K).
        """
        return self._through(self.weights, inputs, dropout=True)

    @torch.no_grad()
    def predict(self, head: int, inputs: Tensor) -> Tensor:
        """Logits of one head, without dropout.

        Args:
            head: Its number.
            inputs: Shape (m, D).

        Returns:
            Shape (m, K).
        """
        return self._through([part[head : head + 1] for part in self.weights], inputs[None], dropout=False)[0]

    def _through(self, weights: Sequence[Tensor], inputs: Tensor, *, dropout: bool) -> Tensor:
        hidden = inputs
        for place in range(0, len(weights), 2):
            if place:
                hidden = hidden.relu()
            if place and dropout:
                drawn = torch.rand(hidden.shape[1:] if self._alike else hidden.shape, generator=self._generator)
                hidden = hidden * (drawn >= DROPOUT) / (1 - DROPOUT)
            hidden = torch.baddbmm(weights[place + 1], weights[place], hidden.mT).mT
        return hidden
